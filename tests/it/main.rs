mod cli;
mod metric;
mod table;
