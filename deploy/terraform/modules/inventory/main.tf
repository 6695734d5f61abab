# An Ansible inventory of what the providers' modules made; the shape is that of `blazz plan`.

terraform {
  required_version = ">= 1.5"
}

variable "machines" {
  description = "The `machines` of the providers' modules, one list."
  type = list(map(object({
    address      = string
    provider     = string
    region       = string
    size         = string
    sessions_max = number
  })))
}

variable "groups" {
  description = "The other groups (nats, control_plane, proxy, observability): hosts with addresses. They may be machines that hold sessions, too."
  type        = map(map(string))
  default     = {}
}

variable "user" {
  description = "Who Ansible signs in as."
  type        = string
  default     = "deploy"
}

variable "blazz_version" {
  description = "The version that Ansible installs."
  type        = string
}

locals {
  nodes   = merge(var.machines...)
  regions = distinct([for node in values(local.nodes) : { provider = node.provider, region = node.region }])

  others = {
    for group in ["nats", "control_plane", "proxy", "observability"] : group => {
      hosts = {
        for name, address in lookup(var.groups, group, {}) : name => { ansible_host = address }
      }
    }
  }

  swarm_nodes = {
    hosts = {
      for name, node in local.nodes : name => {
        ansible_host       = node.address
        blazz_provider     = node.provider
        blazz_region       = node.region
        blazz_size         = node.size
        blazz_sessions_max = node.sessions_max
      }
    }
  }

  by_region = {
    for each in local.regions :
    "region_${replace(each.provider, "-", "_")}_${replace(each.region, "-", "_")}" => {
      hosts = {
        for name, node in local.nodes : name => {}
        if node.provider == each.provider && node.region == each.region
      }
    }
  }

  by_provider = {
    for provider in distinct([for node in values(local.nodes) : node.provider]) :
    "provider_${replace(provider, "-", "_")}" => {
      children = {
        for each in local.regions :
        "region_${replace(each.provider, "-", "_")}_${replace(each.region, "-", "_")}" => {}
        if each.provider == provider
      }
    }
  }
}

output "yaml" {
  description = "The inventory's text."
  value = yamlencode({
    all = {
      vars = {
        ansible_user  = var.user
        blazz_version = var.blazz_version
      }
      children = merge(local.others, { swarm_nodes = local.swarm_nodes }, local.by_region, local.by_provider)
    }
  })
}
