//! The images of which a model is most confidently wrong.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{Markup, html};

use super::Wrong;

pub(super) fn section(wrong: &[Wrong]) -> Markup {
    html! {
        @if !wrong.is_empty() {
            h3 { "Most confidently wrong" }
            div.wrong { @for one in wrong { (image(one)) } }
        }
    }
}

fn image(Wrong { name, label, predicted, confidence, jpeg }: &Wrong) -> Markup {
    let address = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg));
    html! {
        figure {
            // Several models are wrong about the same images, which the page has once.
            svg role="img" aria-label={ "Image " (name) } viewBox="0 0 64 64" {
                g.frame { image width="64" height="64" href=(address) {} }
            }
            figcaption {
                (label) " as " (predicted) ", " (format!("{:.0}\u{a0}%", 100.0 * confidence)) br;
                span.faint { (name) }
            }
        }
    }
}
