variable "expression" {
  description = "A rate() or cron() expression of EventBridge. null: no schedule."
  type        = string
}
