variable "name" {
  description = "Prefix of everything that this module makes."
  type        = string
  default     = "lakekey"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "A lower-case letter, then up to 30 lower-case letters, digits and hyphens."
  }
}

variable "package" {
  description = "Path of lakekey-aws.zip, as `cargo dist` makes it."
  type        = string
}

variable "architecture" {
  description = "What the package was built for."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "x86_64 or arm64."
  }
}

variable "config" {
  description = "lakekey.yaml as text: references to secrets, never secrets. Its `state` names the bucket of the output `state_url`; make that name known with `state_bucket`."
  type        = string
}

variable "state_bucket" {
  description = "Name of the bucket for journal and config; globally unique."
  type        = string
}

variable "stores" {
  description = "Secrets Manager secrets that lakekey keeps (`store` and `copies` of the config), by name or ARN. They must exist, if only empty; they are read and written."
  type        = set(string)
}

variable "references" {
  description = "Secrets Manager secrets that the config only refers to (`awssm:` references), by name or ARN. They are read."
  type        = set(string)
  default     = []
}

variable "rotated_by_secrets_manager" {
  description = "Those of `stores` whose rotation Secrets Manager starts, by ARN, with the days between rotations. Each must hold a value already."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for days in values(var.rotated_by_secrets_manager) : days >= 1 && days <= 90])
    error_message = "Between 1 and 90 days."
  }
}

variable "kms_key_arn" {
  description = "Customer-managed key for bucket, queues, logs and environment; AWS's own keys without it. Its policy must let logs.REGION.amazonaws.com use it."
  type        = string
  default     = null
}

variable "secrets_kms_key_arns" {
  description = "Customer-managed keys of the secrets in `stores` and `references`."
  type        = set(string)
  default     = []
}

variable "schedule" {
  description = "When lakekey looks for what is due: a cron(…) or rate(…) expression of EventBridge Scheduler."
  type        = string
  default     = "rate(1 hour)"
}

variable "timeout_seconds" {
  description = "Longest time of one invocation. A rotation that takes longer goes on in the next."
  type        = number
  default     = 300

  validation {
    condition     = var.timeout_seconds >= 60 && var.timeout_seconds <= 900
    error_message = "Between 60 and 900."
  }
}

variable "memory_mib" {
  description = "Memory of the function; more also means more processor."
  type        = number
  default     = 256
}

variable "workers" {
  description = "Slices of a rotation that run at the same time."
  type        = number
  default     = 4

  validation {
    condition     = var.workers >= 2 && var.workers <= 50
    error_message = "Between 2 (the least that SQS takes) and 50."
  }
}

variable "environment" {
  description = "Further variables of the function, such as proxies or LAKEKEY_ALLOWED_HOSTS. Never secrets."
  type        = map(string)
  default     = {}
}

variable "function_url" {
  description = "Serve the HTTP API at a function URL, behind IAM sign-in."
  type        = bool
  default     = false
}

variable "web_identity_audiences" {
  description = "Audiences for which the function may ask for a signed identity token (`auth: aws-web-identity`, Databricks token federation). Outbound identity federation must be on in the account."
  type        = set(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms go to; no alarms without one."
  type        = set(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}
