//! The figures as Markdown and as JSON.

use std::cmp::Reverse;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::design::{CELLS, Counts, Design};

/// Two tables: the card and its parts with all that is in them, and every module by itself.
pub fn markdown(design: &Design) -> String {
    let title = |name| format!("`{name}`");
    let columns = CELLS.map(|(_, column)| column.to_owned());
    let row = |first: Vec<String>, counts: Counts| {
        first.into_iter().chain(counts.0.map(|count| count.to_string())).collect::<Vec<_>>()
    };
    let head = |first: &[&str]| first.iter().map(|s| (*s).to_owned()).chain(columns.clone()).collect();

    let mut parts = vec![head(&["part"])];
    let top = &design.modules[&design.top];
    parts.extend(top.children.keys().map(|name| row(vec![title(name)], design.whole(name))));
    parts.push(row(vec!["the card".into()], design.whole(&design.top)));

    let mut modules = vec![head(&["module", "instances"])];
    let mut order: Vec<_> = design.modules.iter().collect();
    order.sort_by_key(|(name, module)| (Reverse(module.own * module.instances), *name));
    modules.extend(
        order.iter().map(|(name, module)| row(vec![title(name), module.instances.to_string()], module.own)),
    );
    format!(
        "\n{}\nEach module by itself, without the modules in it:\n\n{}\n",
        aligned(&parts),
        aligned(&modules)
    )
}

/// A Markdown table whose columns line up; the first row is the head, the first column text, the others numbers.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        if i == 0 {
            let rules = widths.iter().enumerate().map(|(column, width)| match column {
                0 => "-".repeat(*width),
                _ => "-".repeat(width - 1) + ":",
            });
            let _ = writeln!(text, "| {} |", rules.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

/// `{ "card": counts, "modules": { NAME: { "instances": N, "own": counts, "whole": counts } } }`, counts by Yosys's names of cells.
pub fn json(design: &Design) -> Value {
    let counts = |counts: Counts| {
        CELLS
            .iter()
            .zip(counts.0)
            .map(|((cell, _), count)| ((*cell).to_owned(), count.into()))
            .collect::<Map<_, _>>()
    };
    let modules: Map<_, _> = design
        .modules
        .iter()
        .map(|(name, module)| {
            let figures = json!({
                "instances": module.instances,
                "own": counts(module.own),
                "whole": counts(design.whole(name)),
            });
            (name.clone(), figures)
        })
        .collect();
    json!({ "card": counts(design.whole(&design.top)), "modules": modules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["module", "n"], ["a", "12"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(aligned(&rows), "| module |  n |\n| ------ | -: |\n| a      | 12 |\n");
    }
}
