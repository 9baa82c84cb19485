package salvage

// WorkName is the directory, inside that of the store, in which a repair makes its files.
const WorkName = "repair"
