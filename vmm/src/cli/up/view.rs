//! The session on a terminal: a console's tail for each machine, and the card's counters.

use std::io::{self, IsTerminal, Stdout};

use anyhow::{Context, Result};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph};
use ratatui::{Frame, Terminal};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::Value;

use super::member::Member;

/// The screen. The terminal is as it was before when this is dropped.
pub struct View {
    screen: Terminal<CrosstermBackend<Stdout>>,
    /// The terminal's mode before.
    mode: Option<Termios>,
}

impl View {
    /// Takes the terminal over; nothing where there is none. Ctrl-C is a signal still.
    pub fn new() -> Result<Option<Self>> {
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        let mode = tcgetattr(io::stdin()).ok();
        if let Some(mut quiet) = mode.clone() {
            quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            tcsetattr(io::stdin(), OptionalActions::Now, &quiet).context("the terminal")?;
        }
        let screen = Terminal::new(CrosstermBackend::new(io::stdout())).context("the terminal")?;
        let view = Self { screen, mode };
        execute!(io::stdout(), EnterAlternateScreen, Hide).context("the terminal")?;
        Ok(Some(view))
    }

    /// Shows the machines as they are, and what the control socket answered when it was asked for counters.
    pub fn draw(&mut self, machines: &[Member], counters: &Value) -> Result<()> {
        self.screen.draw(|frame| draw(frame, machines, counters)).context("the terminal")?;
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // There is nobody left to tell if this fails.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        if let Some(mode) = &self.mode {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, mode);
        }
    }
}

fn draw(frame: &mut Frame<'_>, machines: &[Member], counters: &Value) {
    let figures = figures(counters);
    let below = u16::try_from(figures.len()).unwrap_or(u16::MAX).saturating_add(2);
    let areas = Layout::vertical([Constraint::Min(3), Constraint::Length(below)]);
    let [above, below]: [Rect; 2] = areas.areas(frame.area());
    let shares = machines.iter().map(|_| Constraint::Fill(1));
    for (machine, area) in machines.iter().zip(Layout::vertical(shares).split(above).iter()) {
        let lines = machine.tail(usize::from(area.height.saturating_sub(2)));
        let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
        frame.render_widget(
            Paragraph::new(lines).block(Block::bordered().title(machine.name().bold())),
            *area,
        );
    }
    let block = Block::bordered().title("card".bold()).title_bottom("Ctrl-C ends all");
    frame.render_widget(Paragraph::new(figures).block(block), below);
}

/// A line for the whole card, and one for each port of its switch at which something was counted.
fn figures(counters: &Value) -> Vec<Line<'static>> {
    let count = |name: &str| counters[name].as_f64().unwrap_or_default();
    let mut lines = vec![Line::from(format!(
        "{:.0} cycles at {:.0} kHz, {} NVMe commands, {:.0} interrupts, {:.1} MiB DMA, {:.0} DMA faults",
        count("cycles"),
        count("kilohertz"),
        counters["card"]["commands"].as_u64().unwrap_or_default(),
        count("interrupts"),
        (count("dma_read_bytes") + count("dma_write_bytes")) / f64::from(1 << 20),
        count("dma_faults"),
    ))];
    for (port, events) in counters["ports"].as_object().into_iter().flatten() {
        let events = events.as_object().into_iter().flatten().map(|(event, counted)| {
            format!("{} {}", counted["packets"].as_u64().unwrap_or_default(), event.replace('_', " "))
        });
        lines.push(Line::from(format!("{port}: packets {}", events.collect::<Vec<_>>().join(", "))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_a_line_for_the_card_and_one_for_each_port() {
        let counters = serde_json::json!({
            "cycles": 12, "kilohertz": 3.4, "interrupts": 5, "dma_read_bytes": 1 << 20, "dma_write_bytes": 1 << 20,
            "dma_faults": 0, "card": { "commands": 6 },
            "ports": { "net0": { "sent": { "packets": 7, "bytes": 8 }, "source_mac": { "packets": 9, "bytes": 1 } } },
        });
        let lines: Vec<String> = figures(&counters).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "12 cycles at 3 kHz, 6 NVMe commands, 5 interrupts, 2.0 MiB DMA, 0 DMA faults",
                "net0: packets 7 sent, 9 source mac"
            ]
        );
    }
}
