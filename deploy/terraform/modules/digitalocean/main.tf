# Droplets in one region, behind a firewall.

locals {
  provider = "digitalocean"
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

resource "digitalocean_droplet" "node" {
  for_each = toset(local.names)

  name       = each.key
  region     = var.region
  size       = var.size
  image      = var.image
  user_data  = local.user_data[each.key]
  ipv6       = true
  monitoring = false
  tags       = ["blazz"]

  lifecycle {
    # It was read at the first start; another text must not make the machine anew.
    ignore_changes = [user_data, image]
  }
}

resource "digitalocean_firewall" "node" {
  count = var.machines > 0 ? 1 : 0

  name        = "blazz-${local.provider}-${local.region}-${var.first_number}"
  droplet_ids = [for machine in digitalocean_droplet.node : machine.id]

  dynamic "inbound_rule" {
    for_each = local.open_tcp
    content {
      protocol         = "tcp"
      port_range       = inbound_rule.key
      source_addresses = inbound_rule.value
    }
  }

  dynamic "outbound_rule" {
    for_each = toset(["tcp", "udp"])
    content {
      protocol              = outbound_rule.value
      port_range            = "1-65535"
      destination_addresses = ["0.0.0.0/0", "::/0"]
    }
  }

  outbound_rule {
    protocol              = "icmp"
    destination_addresses = ["0.0.0.0/0", "::/0"]
  }
}
