mod metric;
mod table;
