//! Writes the card's Verilog to standard output.

use nitride_hdl::Profile;

fn main() {
    match nitride_hdl::verilog(&Profile::LAB) {
        Ok(emitted) => print!("{}", emitted.text),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
