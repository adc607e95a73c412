# What the tasks reach. Nothing reaches them.

data "aws_subnet" "task" {
  id = var.subnet_ids[0]
}

resource "aws_security_group" "task" {
  name_prefix = "${var.service_name}-"
  description = "${var.service_name}: out to GitHub and AWS over HTTPS, nothing in"
  vpc_id      = data.aws_subnet.task.vpc_id
  tags        = merge(local.tags, { Name = var.service_name })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  security_group_ids = concat([aws_security_group.task.id], var.network.security_group_ids)

  # GitHub and AWS have no fixed addresses.
  egress = merge(
    { for cidr in var.network.https_cidrs : "HTTPS to ${cidr}" => { protocol = "tcp", port = 443, to = cidr } },
    var.network.egress,
  )
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = local.egress

  security_group_id            = aws_security_group.task.id
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
