# The same for every provider: what module `inventory` takes.

output "machines" {
  description = "By name: address, provider, region, size and sessions_max."
  value = {
    for name, machine in digitalocean_droplet.node : name => {
      address      = machine.ipv4_address
      provider     = local.provider
      region       = local.region
      size         = var.size
      sessions_max = var.sessions_max
    }
  }
}
