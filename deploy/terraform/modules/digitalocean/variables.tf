# The same for every provider: tests/contract/test_deploy_files.py holds them together.

variable "region" {
  description = "The provider's own name of the region."
  type        = string
}

variable "region_name" {
  description = "The region in the machines' names and in the inventory; by default the provider's."
  type        = string
  default     = null
}

variable "machines" {
  description = "How many."
  type        = number

  validation {
    condition     = var.machines >= 0 && var.machines <= 500 && floor(var.machines) == var.machines
    error_message = "A whole number from 0 to 500."
  }
}

variable "first_number" {
  description = "The first machine's number; the others follow. A number is never used for two machines."
  type        = number
  default     = 1
}

variable "size" {
  description = "The provider's name of the machines' size."
  type        = string
}

variable "image" {
  description = "The provider's name of the system: Debian 12."
  type        = string
  default     = "debian-12-x64"
}

variable "sessions_max" {
  description = "How many sessions one of them takes: as `blazz plan` says for its memory."
  type        = number
}

variable "user" {
  description = "Who Ansible signs in as."
  type        = string
  default     = "deploy"
}

variable "ssh_authorized_keys" {
  description = "Public keys of those who may."
  type        = list(string)

  validation {
    condition     = length(var.ssh_authorized_keys) > 0
    error_message = "Without a key nobody can sign in."
  }
}

variable "ssh_from" {
  description = "The networks they come from."
  type        = list(string)
}

variable "open_tcp" {
  description = "Further ports, each with the networks that may reach it. A node needs none."
  type        = map(list(string))
  default     = {}
}
