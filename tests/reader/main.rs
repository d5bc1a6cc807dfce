//! Reading event files as a whole: arrival, damage, and comparison with other readers.

mod ahead; // several threads and one file
mod arrival; // replay equals live
mod common; // a log directory in memory
mod damage; // what happens to files
mod foreign; // files that hold no events
mod history; // runs that are too old to be read
mod hostile; // files that were made to break readers
mod limits; // of what the kernel watches
mod oracle; // values against a protobuf library
mod sharing; // several threads and many files
mod writers; // several programs in one directory
