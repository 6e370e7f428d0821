mod applying;
mod backfills;
mod fixture;
mod indexes;
mod kills;
mod locks;
mod secrets;
