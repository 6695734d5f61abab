# Linodes in one region, behind a firewall. The region must have the Metadata service.

locals {
  provider = "linode"
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

resource "linode_instance" "node" {
  for_each = toset(local.names)

  label           = each.key
  region          = var.region
  type            = var.size
  image           = var.image
  authorized_keys = var.ssh_authorized_keys
  # A disk for swap is what it would make by itself.
  swap_size = 0
  tags      = ["blazz"]

  metadata {
    user_data = base64encode(local.user_data[each.key])
  }

  lifecycle {
    # It was read at the first start; another text must not make the machine anew.
    ignore_changes = [metadata, image]
  }
}

resource "linode_firewall" "node" {
  count = var.machines > 0 ? 1 : 0

  # A label has 32 characters at most.
  label           = substr("blazz-${local.region}-${var.first_number}", 0, 32)
  inbound_policy  = "DROP"
  outbound_policy = "ACCEPT"
  linodes         = [for machine in linode_instance.node : machine.id]

  dynamic "inbound" {
    for_each = local.open_tcp
    content {
      label    = "tcp-${inbound.key}"
      action   = "ACCEPT"
      protocol = "TCP"
      ports    = inbound.key
      ipv4     = [for network in inbound.value : network if !strcontains(network, ":")]
      ipv6     = [for network in inbound.value : network if strcontains(network, ":")]
    }
  }
}
