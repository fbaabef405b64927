//! A synthesized design: what each module is made of.

use std::collections::BTreeMap;
use std::iter::Sum;
use std::ops::{Add, Mul};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The cells that are counted, as Yosys calls them, and as the table does.
pub const CELLS: [(&str, &str); 6] = [
    ("LUT4", "LUT4"),
    ("TRELLIS_FF", "flip-flops"),
    ("DP16KD", "DP16KD"),
    ("TRELLIS_DPR16X4", "DPR16X4"),
    ("CCU2C", "CCU2C"),
    ("MULT18X18D", "MULT18X18D"),
];

/// Multiplexers beside the LUTs of a slice: they cost nothing.
const FREE: [&str; 2] = ["PFUMX", "L6MUX21"];

/// How many of each of [`CELLS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts(pub [u64; CELLS.len()]);

impl Add for Counts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Mul<u64> for Counts {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.map(|count| count * times))
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// A module of the design.
#[derive(Debug, Default)]
pub struct Module {
    /// Of the module alone, without its sub-blocks.
    pub own: Counts,
    /// How many of it the design has.
    pub instances: u64,
    /// The modules in it, and how often.
    pub children: BTreeMap<String, u64>,
}

/// All modules, by name.
#[derive(Debug)]
pub struct Design {
    pub modules: BTreeMap<String, Module>,
    pub top: String,
}

impl Design {
    /// Takes what `stat -json` says of a design without parameters or processes.
    pub fn read(statistics: &str, top: &str) -> Result<Self> {
        let statistics: Value = serde_json::from_str(statistics)?;
        let described = statistics["modules"].as_object().context("no modules")?;
        let names: Vec<_> = described.keys().map(|name| name.trim_start_matches('\\')).collect();
        let mut modules = BTreeMap::new();
        for (name, description) in names.iter().zip(described.values()) {
            let mut module = Module::default();
            for (cell, count) in description["num_cells_by_type"].as_object().into_iter().flatten() {
                let (cell, count) = (cell.trim_start_matches('\\'), count.as_u64().unwrap_or_default());
                if let Some(column) = CELLS.iter().position(|(yosys, _)| *yosys == cell) {
                    module.own.0[column] = count;
                } else if names.contains(&cell) {
                    module.children.insert(cell.to_owned(), count);
                } else if !FREE.contains(&cell) {
                    bail!("module {name} has a {cell}, for which the table has no column");
                }
            }
            modules.insert((*name).to_owned(), module);
        }
        let mut design = Self { modules, top: top.to_owned() };
        design.place(top, 1).with_context(|| format!("no module {top}"))?;
        Ok(design)
    }

    /// Counts `times` more instances of a module, and of all in it.
    fn place(&mut self, name: &str, times: u64) -> Option<()> {
        let module = self.modules.get_mut(name)?;
        module.instances += times;
        for (child, count) in module.children.clone() {
            self.place(&child, times * count)?;
        }
        Some(())
    }

    /// A module with all that is in it.
    pub fn whole(&self, name: &str) -> Counts {
        self.modules.get(name).map_or_else(Counts::default, |module| {
            let children = module.children.iter().map(|(child, count)| self.whole(child) * *count);
            module.own + children.sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(leaf_cell: &str) -> String {
        format!(
            r#"{{ "modules": {{
                "\\card": {{ "num_cells_by_type": {{ "LUT4": 5, "Pair": 2, "Leaf": 1 }} }},
                "\\Pair": {{ "num_cells_by_type": {{ "Leaf": 2, "TRELLIS_FF": 7, "PFUMX": 9 }} }},
                "\\Leaf": {{ "num_cells_by_type": {{ "{leaf_cell}": 3 }} }} }} }}"#
        )
    }

    #[test]
    fn cells_are_counted_once_for_each_instance() {
        let design = Design::read(&statistics("DP16KD"), "card").unwrap();
        assert_eq!(design.modules["Leaf"].instances, 5);
        assert_eq!(design.modules["Leaf"].own, Counts([0, 0, 3, 0, 0, 0]));
        assert_eq!(design.whole("Pair"), Counts([0, 7, 6, 0, 0, 0]));
        assert_eq!(design.whole("card"), Counts([5, 14, 15, 0, 0, 0]));
    }

    #[test]
    fn a_cell_without_a_column_is_an_error() {
        let error = Design::read(&statistics("$_DLATCH_P_"), "card").unwrap_err();
        assert!(error.to_string().contains("module Leaf has a $_DLATCH_P_"), "{error}");
    }
}
