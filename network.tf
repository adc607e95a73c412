# What the tasks reach. Nothing reaches them.

data "aws_subnet" "task" {
  id = var.subnet_ids[0]
}

resource "aws_security_group" "task" {
  count = var.network.create_security_group ? 1 : 0

  name_prefix = "${var.service_name}-"
  description = "${var.service_name}: out to GitHub and AWS over HTTPS, nothing in"
  vpc_id      = data.aws_subnet.task.vpc_id
  tags        = merge(local.tags, { Name = var.service_name })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  security_group_ids = concat(aws_security_group.task[*].id, var.network.security_group_ids)

  # A GitHub Enterprise Server may have another port than 443, which AWS has.
  github_ports = [for url in values(var.github_urls) : try(tonumber(regex("^https://[^/:]+:([0-9]+)", url)[0]), 443)]
  https_ports  = distinct(concat([443], local.github_ports))

  # GitHub and AWS have no fixed addresses.
  egress = !var.network.create_security_group ? {} : merge(
    {
      for place in setproduct(var.network.https_cidrs, [for port in local.https_ports : tostring(port)]) :
      "HTTPS to ${place[0]}${place[1] == "443" ? "" : ", port ${place[1]}"}" => {
        protocol = "tcp", port = tonumber(place[1]), to = place[0]
      }
    },
    var.network.egress,
  )
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = local.egress

  security_group_id            = aws_security_group.task[0].id
  description                  = each.key
  cidr_ipv4                    = strcontains(each.value.to, ".") ? each.value.to : null
  cidr_ipv6                    = strcontains(each.value.to, ":") ? each.value.to : null
  referenced_security_group_id = startswith(each.value.to, "sg-") ? each.value.to : null
  prefix_list_id               = startswith(each.value.to, "pl-") ? each.value.to : null
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}
