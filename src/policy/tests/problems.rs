//! What `parse` says of a policy with one mistake.
