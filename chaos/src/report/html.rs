//! One page: a summary, and for each scenario its checks and a picture of what happened when.

use std::fmt::Write;

use super::{Report, ScenarioReport};
use crate::timeline::EntryKind;

const WIDTH: f64 = 900.0;
/// Room for the names of paths.
const LEFT: f64 = 300.0;
const LANE: f64 = 16.0;
const HEAD: f64 = 26.0;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:78rem;padding:0 1rem;color:#1b1f24}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.2rem}table{border-collapse:collapse}\
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}.holds{color:#1a7f37}.failed{color:#cf222e;font-weight:600}\
svg{display:block;margin:.6rem 0;width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#1b1f24}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}svg text{fill:#e6edf3}}";

pub(super) fn page(report: &Report) -> String {
    let mut body = String::new();
    // Writing to a string does not fail.
    for scenario in &report.scenarios {
        write!(
            body,
            "<tr><td class=\"{}\">{}</td><td><a href=\"#{}\">{}</a></td><td>{:.1} s</td><td>{:.0} ms</td><td>{}</td></tr>",
            class(scenario.passed),
            word(scenario.passed),
            scenario.name,
            scenario.name,
            scenario.figures.seconds,
            scenario.longest_gap_ms,
            escape(&scenario.what),
        )
        .ok();
    }
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Causeway chaos report</title><style>{STYLE}</style>\
         <h1>Chaos run of {} against demo {}</h1><table><tr><th></th><th>scenario</th><th>took</th><th>longest gap</th>\
         <th>what</th></tr>{body}</table>",
        escape(&report.started),
        escape(&report.run_id),
    );
    for scenario in &report.scenarios {
        page += &section(scenario);
    }
    page + "</html>\n"
}

fn section(scenario: &ScenarioReport) -> String {
    let mut text =
        format!("<h2 id=\"{}\">{}</h2><p>{}</p><table>", scenario.name, scenario.name, escape(&scenario.what));
    for check in &scenario.checks {
        write!(
            text,
            "<tr><td class=\"{}\">{}</td><td>{}</td><td>{}</td></tr>",
            class(check.passed),
            word(check.passed),
            escape(&check.name),
            escape(&check.detail),
        )
        .ok();
    }
    text + "</table>" + &picture(scenario)
}

/// A lane for each path, with a mark where it lost what it should deliver or delivered what it should not; above them
/// what was done.
fn picture(scenario: &ScenarioReport) -> String {
    let end = scenario.figures.seconds.max(0.1);
    let x = |at: f64| LEFT + (at / end).clamp(0.0, 1.0) * (WIDTH - LEFT);
    let bottom = HEAD + LANE * scenario.paths.len() as f64;
    let height = bottom + 16.0 * (scenario.timeline.len() as f64 + 1.0);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline\">");
    for (lane, path) in scenario.paths.iter().enumerate() {
        let y = HEAD + LANE * lane as f64;
        let colour = if path.allowed { "#2da44e" } else { "#8c959f" };
        write!(
            svg,
            "<text x=\"0\" y=\"{}\">{}</text><rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"6\" fill=\"{colour}\" \
             opacity=\".6\"/>",
            y + 10.0,
            escape(&path.name),
            x(path.from),
            y + 4.0,
            (x(path.until) - x(path.from)).max(0.0),
        )
        .ok();
        for (from, until) in &path.marks {
            let width = (x(*until) - x(*from)).max(1.5);
            write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"12\" fill=\"#cf222e\"/>",
                x(*from),
                y + 1.0
            )
            .ok();
        }
    }
    for (number, entry) in scenario.timeline.iter().enumerate() {
        let colour = match entry.kind {
            EntryKind::Inject => "#cf222e",
            EntryKind::Evidence => "#bf8700",
            EntryKind::Heal => "#0969da",
            EntryKind::Said => "#8250df",
            EntryKind::Check => "#1a7f37",
        };
        let y = bottom + 16.0 * (number as f64 + 1.0);
        write!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{HEAD}\" y2=\"{y}\" stroke=\"{colour}\" stroke-dasharray=\"2 3\"/>\
             <text x=\"0\" y=\"{1}\" style=\"fill:{colour}\">{2:.2} s {3}</text>",
            x(entry.at),
            y + 4.0,
            entry.at,
            escape(&entry.text),
        )
        .ok();
    }
    svg + "</svg>"
}

fn class(passed: bool) -> &'static str {
    if passed { "holds" } else { "failed" }
}

fn word(passed: bool) -> &'static str {
    if passed { "holds" } else { "FAILED" }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
