//! The images of which a model is most confidently wrong.

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
    html! {
        figure {
            img src={ "data:image/jpeg;base64," (base64(jpeg)) } alt={ "Image " (name) };
            figcaption {
                (label) " as " (predicted) ", " (format!("{:.0}\u{a0}%", 100.0 * confidence)) br;
                span.faint { (name) }
            }
        }
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sign = char::from(SIGNS[(bits >> (18 - 6 * i) & 63) as usize]);
            text.push(if i <= three.len() { sign } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
