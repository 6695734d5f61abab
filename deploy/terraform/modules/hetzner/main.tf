# Servers in one location, behind a firewall.

locals {
  provider = "hetzner"
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

resource "hcloud_firewall" "node" {
  name = "blazz-${local.provider}-${local.region}-${var.first_number}"

  dynamic "rule" {
    for_each = local.open_tcp
    content {
      direction  = "in"
      protocol   = "tcp"
      port       = rule.key
      source_ips = rule.value
    }
  }
}

resource "hcloud_server" "node" {
  for_each = toset(local.names)

  name         = each.key
  location     = var.region
  server_type  = var.size
  image        = var.image
  user_data    = local.user_data[each.key]
  firewall_ids = [hcloud_firewall.node.id]
  labels       = { fleet = "blazz" }

  lifecycle {
    # It was read at the first start; another text must not make the machine anew.
    ignore_changes = [user_data, image]
  }
}
