package delta

// attempts is how often a file that changes while it is read is read again.
const attempts = 3
