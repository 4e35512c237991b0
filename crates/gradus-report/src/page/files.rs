//! The page and its plots as files.

use std::path::{Path, PathBuf};

use gradus_record::{ArmRecord, Store};

use super::{forest, networks, page, read, strip};
use crate::error::Result;
use crate::figures::Band;
use crate::file;
use crate::plot::{self, Plot};
use crate::summary::Summary;

/// How many dots of a PNG file make a unit of a plot: sharp in print.
const SCALE: f64 = 3.0;

/// Writes the page of a study to a file, in full or not at all.
///
/// # Errors
/// When the store cannot be read, or the file not written.
pub fn write_page(store: &Store, summary: &Summary, path: &Path) -> Result<()> {
    file::write(path, page(store, summary)?.as_bytes())
}

/// Writes every plot of the page to a folder, each as SVG, PNG and PDF; the files, in the order of the page.
///
/// # Errors
/// When the store cannot be read, or a file not written.
pub fn write_figures(store: &Store, summary: &Summary, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    file::folder(folder)?;
    for (name, plot) in plots(store, summary)? {
        for (ending, content) in [("svg", plot.svg().into_bytes()), ("png", plot.png(SCALE)), ("pdf", plot.pdf())] {
            let path = folder.join(format!("{name}.{ending}"));
            file::write(&path, &content)?;
            files.push(path);
        }
    }
    Ok(files)
}

/// Every plot with the name of its file. Numbers keep names apart that are alike once they are fit for a file.
fn plots(store: &Store, summary: &Summary) -> Result<Vec<(String, Plot)>> {
    let study = store.study()?;
    let records: Vec<ArmRecord> = store.arms()?.into_iter().filter(|a| a.active).collect();
    let figures = read(store, &study, &records, summary)?;
    let mut list: Vec<(String, Plot)> = Vec::new();
    list.extend(forest(summary).0.map(|f| ("differences".to_string(), plot::forest(&f))));
    list.extend(strip(summary).0.map(|s| ("rounds".to_string(), plot::strip(&s))));
    for (i, chart) in figures.charts.iter().chain(&figures.steps).enumerate() {
        list.push((name("curve", i, &chart.title), plot::curves(&chart.curves(Band::default()))));
    }
    for (i, (network, plot)) in networks(&records).into_iter().enumerate() {
        list.push((name("network", i, &network.arms[0]), plot));
    }
    let confusions = figures.confusions.iter().flat_map(|c| c.of.iter().map(|(loss, one)| (&c.arm, loss, one)));
    for (i, (arm, loss, confusion)) in confusions.enumerate() {
        list.push((name("confusion", i, &format!("{arm} {loss}")), plot::confusion(confusion)));
    }
    list.extend(figures.points.iter().map(|p| ("points".to_string(), plot::plane(p))));
    let planes = figures.planes.iter().flat_map(|p| p.planes.iter().map(|plane| (&p.arm, plane)));
    for (i, (arm, plane)) in planes.enumerate() {
        list.push((name("plane", i, arm), plot::plane(plane)));
    }
    Ok(list)
}

/// `curve-1-test-accuracy`: letters and digits of a name alone, for no name may lead out of the folder.
fn name(what: &str, i: usize, of: &str) -> String {
    let letters = of.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let words: String = letters.take(60).collect();
    let parts = [what.to_string(), (i + 1).to_string()].into_iter();
    parts.chain(words.split_whitespace().map(str::to_string)).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        assert_eq!(name("curve", 0, "test accuracy"), "curve-1-test-accuracy");
        assert_eq!(name("plane", 1, "../../etc/passwd\0C:\\x"), "plane-2-etc-passwd-c-x");
        assert_eq!(name("plane", 2, "…"), "plane-3");
        assert!(name("plane", 2, &"a".repeat(999)).len() < 80);
    }
}
