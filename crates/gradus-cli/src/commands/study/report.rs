//! `gradus study report`.

use std::path::{Path, PathBuf};

use clap::Args;
use gradus_record::Store;
use gradus_report::{Summary, latex, markdown};

use super::{open, reported};
use crate::failure::Outcome;
use crate::print;

/// The page's file in the folder of a study.
pub const FILE: &str = "report.html";

/// Write a study's report: one HTML page that loads nothing, or Markdown, LaTeX and figures for a paper
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gradus study report runs/pairs                        runs/pairs/report.html
  gradus study report runs/pairs --figures figures      every plot as SVG, PNG and PDF, too
  gradus study report runs/pairs --latex > table.tex")]
pub struct Report {
    /// The folder of the study's records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// The page's file; report.html in DIR when left out
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Write every plot to this folder, as SVG, PNG and PDF
    #[arg(long, value_name = "FOLDER")]
    figures: Option<PathBuf>,
    /// Print Markdown, with every table and the protocol, instead of writing the page
    #[arg(long, conflicts_with = "to")]
    markdown: bool,
    /// Print LaTeX, with booktabs tables and the protocol, instead of writing the page
    #[arg(long, conflicts_with_all = ["to", "markdown"])]
    latex: bool,
}

impl Report {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let store = open(&self.out)?;
        let summary = gradus_report::summary(&store).map_err(reported)?;
        if self.markdown {
            print::text(&markdown::summary(&summary))?;
        } else if self.latex {
            print::text(&latex::summary(&summary))?;
        } else {
            let path = self.to.clone().unwrap_or_else(|| self.out.join(FILE));
            write(&store, &summary, &path)?;
            print::text(&format!("report in {}\n", path.display()))?;
        }
        if let Some(folder) = &self.figures {
            let files = gradus_report::write_figures(&store, &summary, folder).map_err(reported)?;
            let message = format!("{} in {}\n", print::many(files.len(), "file"), folder.display());
            if self.markdown || self.latex { print::to_people(&message) } else { print::text(&message)? }
        }
        Ok(())
    }
}

/// Writes the page.
pub fn write(store: &Store, summary: &Summary, path: &Path) -> Outcome {
    gradus_report::write_page(store, summary, path).map_err(reported)
}
