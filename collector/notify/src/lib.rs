//! Sends notifications: Slack, e-mail, webhooks, PagerDuty, Alertmanager, with retries, rate limits, a
//! circuit breaker a channel and channels to fall over to.
