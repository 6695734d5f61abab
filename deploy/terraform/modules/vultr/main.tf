# Instances in one region, behind a firewall group.

locals {
  provider = "vultr"
  region   = coalesce(var.region_name, var.region)
  names = [
    for number in range(var.first_number, var.first_number + var.machines) :
    "blazz-${local.provider}-${local.region}-${number}"
  ]
  # What may come in; everything else may not. The key of a port is its number.
  open_tcp = merge({ "22" = var.ssh_from }, var.open_tcp)
  user_data = {
    for name in local.names : name => templatefile("${path.module}/../../../cloud-init/user-data.yaml", {
      hostname            = name
      user                = var.user
      ssh_authorized_keys = jsonencode(var.ssh_authorized_keys)
    })
  }
}

data "vultr_os" "image" {
  filter {
    name   = "name"
    values = [var.image]
  }
}

resource "vultr_firewall_group" "node" {
  description = "blazz-${local.provider}-${local.region}-${var.first_number}"
}

locals {
  rules = merge([
    for port, networks in local.open_tcp : { for network in networks : "${port} ${network}" => { port = port, network = network } }
  ]...)
}

resource "vultr_firewall_rule" "node" {
  for_each = local.rules

  firewall_group_id = vultr_firewall_group.node.id
  protocol          = "tcp"
  ip_type           = strcontains(each.value.network, ":") ? "v6" : "v4"
  subnet            = split("/", each.value.network)[0]
  subnet_size       = tonumber(split("/", each.value.network)[1])
  port              = each.value.port
}

resource "vultr_instance" "node" {
  for_each = toset(local.names)

  label             = each.key
  hostname          = each.key
  region            = var.region
  plan              = var.size
  os_id             = data.vultr_os.image.id
  user_data         = local.user_data[each.key]
  firewall_group_id = vultr_firewall_group.node.id
  activation_email  = false
  enable_ipv6       = true
  tags              = ["blazz"]

  lifecycle {
    # It was read at the first start; another text must not make the machine anew.
    ignore_changes = [user_data, os_id]
  }
}
