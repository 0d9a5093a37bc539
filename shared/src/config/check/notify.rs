//! Webhooks. No credential goes to them, but an address that stands in the config names its host in the config: that host
//! must be allowed like any other. An address that is referred to comes from where secrets come from, and so may its host.

use url::Url;

use super::Checker;
use crate::config::document::{Document, FormatName, NotifyPart};
use crate::config::model::{Channel, Format, PlainOrReference};
use crate::config::tree::Place;

impl Checker<'_> {
    pub(super) fn notify(&mut self, document: &Document, place: Place<'_>) -> Vec<Channel> {
        let parts = document.notify.iter().flatten().enumerate();
        parts.filter_map(|(index, part)| self.channel(part, place.item(index))).collect()
    }

    fn channel(&mut self, part: &NotifyPart, place: Place<'_>) -> Option<Channel> {
        let url = part.url.as_ref().and_then(|url| self.plain_or_reference(url, place.key("url")));
        if let Some(PlainOrReference::Plain(text)) = &url {
            match Url::parse(text) {
                Ok(url) => self.allowed(&url, place.key("url")),
                // Not quoted: it may hold a key.
                Err(_) => {
                    let hint = "write `env:NAME` and put the address into that variable";
                    self.problem(place.key("url").at(), "bad-address", "the webhook is not an address", hint);
                }
            }
        }
        let secret = match &part.secret {
            Some(secret) => Some(self.reference(secret, place.key("secret"))?),
            None => None,
        };
        let format = match part.format? {
            FormatName::Teams => Format::Teams,
            FormatName::Slack => Format::Slack,
            FormatName::Cloudevents => Format::CloudEvents,
        };
        Some(Channel { url: url?, format, secret })
    }
}
