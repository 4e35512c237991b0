//! Colours by what they mean; a page's theme decides what they look like.

use std::fmt::Write;

/// What a colour is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ink {
    /// Words and numbers.
    Text,
    /// Words of less weight, axes.
    Muted,
    /// Lines behind the data.
    Grid,
    /// The page itself.
    Page,
    /// Boxes that stand out from the page a little.
    Surface,
    /// A verdict: better.
    Better,
    /// A verdict: worse.
    Worse,
    /// An arm or a class.
    Series(usize),
}

/// How many colours there are before they repeat.
pub const COLOURS: usize = 8;

/// Light and dark. Any two are told apart with each kind of colour blindness, and each has a contrast of 3 with the page.
const SERIES: [(&str, &str); COLOURS] = [
    ("#0072b2", "#23aafd"),
    ("#d55e00", "#ff8a3d"),
    ("#2ca381", "#3f9483"),
    ("#b22775", "#fc5ec6"),
    ("#355833", "#bfc9be"),
    ("#4b1405", "#b9640f"),
    ("#208dff", "#def8ee"),
    ("#3d1b5d", "#8749df"),
];

impl Ink {
    const PLAIN: [Ink; 7] = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Page, Ink::Surface, Ink::Better, Ink::Worse];

    fn all() -> impl Iterator<Item = Ink> {
        Ink::PLAIN.into_iter().chain((0..COLOURS).map(Ink::Series))
    }

    fn both(self) -> (&'static str, &'static str) {
        match self {
            Ink::Text => ("#1b1f24", "#e8eaed"),
            Ink::Muted => ("#5b6470", "#a3abb5"),
            Ink::Grid => ("#dfe3e8", "#30363d"),
            Ink::Page => ("#ffffff", "#14171a"),
            Ink::Surface => ("#f5f7f9", "#1d2125"),
            Ink::Better => ("#0b7a4b", "#4fc98d"),
            Ink::Worse => ("#b3261e", "#ff8b82"),
            Ink::Series(i) => SERIES[i % COLOURS],
        }
    }

    /// As it is on a light page.
    pub(super) fn light(self) -> &'static str {
        self.both().0
    }

    /// As it is on a light page, in red, green and blue.
    pub(super) fn rgb(self) -> [u8; 3] {
        let hex = self.light();
        [1, 3, 5].map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap_or(0))
    }

    /// The name of its custom property.
    pub(super) fn property(self) -> String {
        match self {
            Ink::Series(i) => format!("--plot-{}", i % COLOURS),
            other => format!("--plot-{other:?}").to_lowercase(),
        }
    }
}

/// The style a page needs for [`Plot::inline`](super::Plot::inline): the colours of both themes, and which of a plot's
/// two forms is shown. The theme is the reader's, or what `data-theme` of the root element says.
pub fn css() -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for ink in Ink::all() {
        let name = ink.property();
        let _ = write!(light, "{name}:{};", ink.both().0);
        let _ = write!(dark, "{name}:{};", ink.both().1);
    }
    format!(
        ":root{{{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n\
         @media screen{{:root[data-theme=dark]{{{dark}}}}}\n\
         .plot{{container-type:inline-size}}\n\
         .plot svg{{display:block;max-width:100%;height:auto;margin:0 auto}}\n\
         .plot .narrow{{display:none}}\n\
         @container (max-width:{}px){{.plot .wide{{display:none}}.plot .narrow{{display:block}}}}\n",
        super::WIDE as usize * 3 / 4
    )
}

/// The colour of an arm as CSS, for a page's own marks beside the plots.
pub fn colour(series: usize) -> String {
    let ink = Ink::Series(series);
    format!("var({},{})", ink.property(), ink.light())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(hex: &str) -> [f64; 3] {
        [1, 3, 5].map(|i| {
            let c = f64::from(u8::from_str_radix(&hex[i..i + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// The contrast of WCAG 2.
    fn contrast(a: &str, b: &str) -> f64 {
        let light = |h: &str| linear(h).iter().zip([0.2126, 0.7152, 0.0722]).map(|(c, w)| c * w).sum::<f64>() + 0.05;
        let (a, b) = (light(a), light(b));
        a.max(b) / a.min(b)
    }

    #[test]
    fn every_colour_can_be_seen_on_both_pages() {
        let (light, dark) = Ink::Page.both();
        for ink in Ink::all().filter(|i| ![Ink::Grid, Ink::Page, Ink::Surface].contains(i)) {
            let least = if matches!(ink, Ink::Series(_)) { 3.0 } else { 4.5 };
            assert!(contrast(ink.both().0, light) >= least, "{ink:?} on the light page");
            assert!(contrast(ink.both().1, dark) >= least, "{ink:?} on the dark page");
        }
    }

    /// Machado, Oliveira and Fernandes (2009), severity 1: what is left of a colour without red, green cones.
    const SEEN: [[[f64; 3]; 3]; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ];

    fn oklab(c: [f64; 3]) -> [f64; 3] {
        let mix = |a: f64, b: f64, d: f64| (a * c[0] + b * c[1] + d * c[2]).cbrt();
        let l = mix(0.4122214708, 0.5363325363, 0.0514459929);
        let m = mix(0.2119034982, 0.6806995451, 0.1073969566);
        let s = mix(0.0883024619, 0.2817188376, 0.6299787005);
        [
            0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
            1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
            0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
        ]
    }

    #[test]
    fn the_colours_of_arms_differ_for_colour_blind_readers() {
        for theme in [|p: &(&'static str, &'static str)| p.0, |p: &(&'static str, &'static str)| p.1] {
            for seen in SEEN {
                let view = |hex: &str| {
                    let c = linear(hex);
                    oklab(seen.map(|row| (0..3).map(|j| row[j] * c[j]).sum::<f64>().clamp(0.0, 1.0)))
                };
                for (i, a) in SERIES.iter().enumerate() {
                    for b in &SERIES[..i] {
                        let (a, b) = (theme(a), theme(b));
                        let distance = view(a).iter().zip(view(b)).map(|(p, q)| (p - q).powi(2)).sum::<f64>().sqrt();
                        assert!(distance >= 0.1, "{a} and {b}: {distance}");
                    }
                }
            }
        }
    }
}
