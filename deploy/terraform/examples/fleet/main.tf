# Forty nodes with four providers. The providers' tokens come from the environment:
# DIGITALOCEAN_TOKEN, HCLOUD_TOKEN, LINODE_TOKEN, VULTR_API_KEY. Keep the state where it is locked and
# encrypted: a provider may put a machine's first password into it (nobody can sign in with it).

terraform {
  required_version = ">= 1.5"

  required_providers {
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "~> 2.40"
    }
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "~> 1.48"
    }
    linode = {
      source  = "linode/linode"
      version = "~> 2.30"
    }
    vultr = {
      source  = "vultr/vultr"
      version = "~> 2.21"
    }
  }
}

variable "ssh_authorized_keys" {
  type = list(string)
}

variable "ssh_from" {
  type = list(string)
}

locals {
  everywhere = {
    ssh_authorized_keys = var.ssh_authorized_keys
    ssh_from            = var.ssh_from
    user                = "deploy"
  }
}

module "singapore_vultr" {
  source = "../../modules/vultr"

  region              = "sgp"
  region_name         = "singapore"
  machines            = 10
  size                = "vc2-2c-4gb"
  sessions_max        = 14
  user                = local.everywhere.user
  ssh_authorized_keys = local.everywhere.ssh_authorized_keys
  ssh_from            = local.everywhere.ssh_from
}

module "singapore_digitalocean" {
  source = "../../modules/digitalocean"

  region              = "sgp1"
  region_name         = "singapore"
  machines            = 10
  size                = "s-2vcpu-4gb"
  sessions_max        = 14
  user                = local.everywhere.user
  ssh_authorized_keys = local.everywhere.ssh_authorized_keys
  ssh_from            = local.everywhere.ssh_from
}

module "jakarta_linode" {
  source = "../../modules/linode"

  region              = "id-cgk"
  region_name         = "jakarta"
  machines            = 10
  size                = "g6-standard-2"
  sessions_max        = 14
  user                = local.everywhere.user
  ssh_authorized_keys = local.everywhere.ssh_authorized_keys
  ssh_from            = local.everywhere.ssh_from
}

module "germany_hetzner" {
  source = "../../modules/hetzner"

  region              = "fsn1"
  region_name         = "germany"
  machines            = 10
  size                = "cx22"
  sessions_max        = 14
  user                = local.everywhere.user
  ssh_authorized_keys = local.everywhere.ssh_authorized_keys
  ssh_from            = local.everywhere.ssh_from
}

# NATS and the control planes stand on machines of their own, or on some of these: give them here.
variable "groups" {
  type    = map(map(string))
  default = {}
}

module "inventory" {
  source = "../../modules/inventory"

  machines = [
    module.singapore_vultr.machines,
    module.singapore_digitalocean.machines,
    module.jakarta_linode.machines,
    module.germany_hetzner.machines,
  ]
  groups        = var.groups
  user          = local.everywhere.user
  blazz_version = "0.1.0"
}

# terraform output -raw inventory > ansible/inventories/production/hosts.yml
output "inventory" {
  value = module.inventory.yaml
}
