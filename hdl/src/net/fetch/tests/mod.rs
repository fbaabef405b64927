mod bench;
mod chains;
mod figures;
mod leaves;
