package seededbug

// Bug names one seeded bug.
type Bug string

// The bugs. Each has a row in Claims.
const (
	// SkipReadIndex makes a leader serve reads without asking a majority whether it still leads.
	SkipReadIndex Bug = "skip-read-index"
	// RaftReadyWithoutTick makes a new leader serve before it has applied what earlier terms committed.
	RaftReadyWithoutTick Bug = "raft-ready-without-tick"
	// RaftCutBeyondDurable cuts entries from the log that the state machine holds in memory only.
	RaftCutBeyondDurable Bug = "raft-cut-beyond-durable"
	// RaftKeepLogBelowSnapshot keeps a log that ends below the snapshot which is put in place.
	RaftKeepLogBelowSnapshot Bug = "raft-keep-log-below-snapshot"
	// RaftStoreBelowSnapshot stores entries again that are below the snapshot in place.
	RaftStoreBelowSnapshot Bug = "raft-store-below-snapshot"
	// RaftInstallUnverified puts a snapshot in place whose files are not what was sent.
	RaftInstallUnverified Bug = "raft-install-unverified"
	// MuxHeartbeatFastPath hands heartbeats to the library beside its main loop.
	MuxHeartbeatFastPath Bug = "mux-heartbeat-fast-path"
	// MuxCommitBeyondMessage believes a leader's commit index beyond what its message reaches.
	MuxCommitBeyondMessage Bug = "mux-commit-beyond-message"
	// MuxAnswerBeforeDurable lets a follower say yes to entries that its log has not synced.
	MuxAnswerBeforeDurable Bug = "mux-answer-before-durable"
	// MuxCountBeforeDurable lets a leader count a follower's entries that its own log has not synced.
	MuxCountBeforeDurable Bug = "mux-count-before-durable"
	// RaftEmptyVotes lets a replica that holds nothing of its group vote.
	RaftEmptyVotes Bug = "raft-empty-votes"
	// RaftEmptyMute keeps an empty replica from voting that has lost nothing.
	RaftEmptyMute Bug = "raft-empty-mute"
	// MuxAnyIncarnation lets a replica vote and answer for a removed one whose place it has.
	MuxAnyIncarnation Bug = "mux-any-incarnation"
	// NodeDeleteUnconfirmed lets a node delete a replica as soon as the map does not list it.
	NodeDeleteUnconfirmed Bug = "node-delete-unconfirmed"
	// RaftEarlyAlone lets the only voter of a group commit what its log has not synced.
	RaftEarlyAlone Bug = "raft-early-alone"
	// MetaForgetRemoved lets a node that was taken out of the cluster register again.
	MetaForgetRemoved Bug = "meta-forget-removed"
	// MetaReuseIncarnation gives out the incarnation of a replica of the map again, if the one before was not used yet.
	MetaReuseIncarnation Bug = "meta-reuse-incarnation"
	// MetaRemoveHolder takes a node out of the map that holds replicas.
	MetaRemoveHolder Bug = "meta-remove-holder"
	// EngineSkipTableSync does not sync a table before the manifest names it.
	EngineSkipTableSync Bug = "engine-skip-table-sync"
	// EngineSkipDirectorySync does not sync the directory in which tables are made.
	EngineSkipDirectorySync Bug = "engine-skip-directory-sync"
	// EngineSkipChecksum takes a block of a table without comparing its checksum.
	EngineSkipChecksum Bug = "engine-skip-checksum"
	// EngineRetryFailedSync syncs a table again after a sync failed, and believes the second one.
	EngineRetryFailedSync Bug = "engine-retry-failed-sync"
	// EngineGoOnAfterFailedSync takes a sync that failed on a full disk for a write that did, and tries again.
	EngineGoOnAfterFailedSync Bug = "engine-go-on-after-failed-sync"
	// EngineOpenWithoutSync believes a manifest whose name the process before may not have made durable.
	EngineOpenWithoutSync Bug = "engine-open-without-sync"
	// EngineManifestInPlace writes a new manifest over the old one.
	EngineManifestInPlace Bug = "engine-manifest-in-place"
	// EngineRemoveBeforeManifest removes the inputs of a compaction before the manifest without them is there.
	EngineRemoveBeforeManifest Bug = "engine-remove-before-manifest"
	// EngineFlushTellsPresent gives a flush the position of the present, with batches that are not in its table.
	EngineFlushTellsPresent Bug = "engine-flush-tells-present"
	// EngineFlushLosesLastRow ends a flush one row too early.
	EngineFlushLosesLastRow Bug = "engine-flush-loses-last-row"
	// EngineCheckpointWithoutSync does not sync the names of the tables in a checkpoint.
	EngineCheckpointWithoutSync Bug = "engine-checkpoint-without-sync"
	// EngineDropTombstone drops a tombstone above a row that it hides.
	EngineDropTombstone Bug = "engine-drop-tombstone"
	// EngineRangeSkipTables has point reads look for range tombstones in memory only.
	EngineRangeSkipTables Bug = "engine-range-skip-tables"
	// EngineRangeCutShort ends a range tombstone with the table in which it is cut, so that keys behind that come back.
	EngineRangeCutShort Bug = "engine-range-cut-short"
	// EngineRangeKeepRows leaves the rows in the row cache that a range tombstone deletes.
	EngineRangeKeepRows Bug = "engine-range-keep-rows"
	// EngineRangeSkipNewer has iterators go past a deleted range also where rows are newer than its tombstone.
	EngineRangeSkipNewer Bug = "engine-range-skip-newer"
	// EngineDropByPresentHorizon has a compaction drop rows by a horizon that a crash would take back.
	EngineDropByPresentHorizon Bug = "engine-drop-by-present-horizon"
	// EngineForgetSnapshots drops rows that an open snapshot sees.
	EngineForgetSnapshots Bug = "engine-forget-snapshots"
	// EngineForgetUnordered takes versions for ordered when they are not retained any more.
	EngineForgetUnordered Bug = "engine-forget-unordered"
	// EngineExpireEarly drops a value a millisecond before the horizon has reached its expiry.
	EngineExpireEarly Bug = "engine-expire-early"
	// EngineReadNextVersion shows a read the row of the version behind its own.
	EngineReadNextVersion Bug = "engine-read-next-version"
	// EngineOldestFirst looks into the oldest table of level 0 first.
	EngineOldestFirst Bug = "engine-oldest-first"
	// EngineEndInclusive shows an iterator the key at which it ends.
	EngineEndInclusive Bug = "engine-end-inclusive"
	// EngineFilterForgets leaves one key of 64 out of the Bloom filter.
	EngineFilterForgets Bug = "engine-filter-forgets"
	// EngineCacheWithoutFile keys cached blocks by their offset alone.
	EngineCacheWithoutFile Bug = "engine-cache-without-file"
	// EngineCacheWithoutStore gives all stores of a runtime the same part of its cache of blocks.
	EngineCacheWithoutStore Bug = "engine-cache-without-store"
	// EngineFillWithoutStamp puts a row into the row cache whatever was published since it was looked up.
	EngineFillWithoutStamp Bug = "engine-fill-without-stamp"
	// EngineRowCacheAnyVersion serves a row from the row cache to reads at versions before the row's.
	EngineRowCacheAnyVersion Bug = "engine-row-cache-any-version"
	// EngineStampNotOdd lets fills of the row cache go on while a batch is published.
	EngineStampNotOdd Bug = "engine-stamp-not-odd"
	// EngineLogSkipSync takes what was written to the engine's log for synced.
	EngineLogSkipSync Bug = "engine-log-skip-sync"
	// EngineLogChecksumWithoutSegment leaves segment id and offset out of the checksums of the engine's log.
	EngineLogChecksumWithoutSegment Bug = "engine-log-checksum-without-segment"
	// EngineRepairSkipSync does not sync the names of the tables that a repair made before it commits them.
	EngineRepairSkipSync Bug = "engine-repair-skip-sync"
	// EngineRepairStopsAtDamage takes nothing of a damaged table behind the damage.
	EngineRepairStopsAtDamage Bug = "engine-repair-stops-at-damage"
	// EngineRepairSaysNothing does not list the keys that may show a deleted value after a repair.
	EngineRepairSaysNothing Bug = "engine-repair-says-nothing"
	// EngineRepairTrustsReads takes every read that fails for damage, though it succeeds at the next one.
	EngineRepairTrustsReads Bug = "engine-repair-trusts-reads"
	// EngineRepairForgetsFamilies leaves the rows of a family without a name whose entry is lost.
	EngineRepairForgetsFamilies Bug = "engine-repair-forgets-families"
	// EngineReadOnlyRemoves removes what a crash left behind also when a store is opened for reading only.
	EngineReadOnlyRemoves Bug = "engine-read-only-removes"
	// EngineReadOnlySkipsLog leaves the log out when a store is opened for reading only.
	EngineReadOnlySkipsLog Bug = "engine-read-only-skips-log"
	// EngineReadOnlyUnlocked lets a writer open a store beside those who read it.
	EngineReadOnlyUnlocked Bug = "engine-read-only-unlocked"
	// EngineTxSkipMemtable validates transactions of the engine against tables only.
	EngineTxSkipMemtable Bug = "engine-tx-skip-memtable"
	// EngineTxSkipStaged validates transactions of the engine only if something became visible since they began.
	EngineTxSkipStaged Bug = "engine-tx-skip-staged"
	// EngineTxSkipRanges does not validate what serializable transactions of the engine walked over.
	EngineTxSkipRanges Bug = "engine-tx-skip-ranges"
	// ShardTakeAnySlot executes commands on slots that the shard does not own.
	ShardTakeAnySlot Bug = "shard-take-any-slot"
	// ShardApplyOutOfOrder executes an entry although one before it was refused.
	ShardApplyOutOfOrder Bug = "shard-apply-out-of-order"
	// ShardRunTwice executes a request again although its answer is kept.
	ShardRunTwice Bug = "shard-run-twice"
	// ShardSplitKeepSlots leaves the slots of the child with the parent as well.
	ShardSplitKeepSlots Bug = "shard-split-keep-slots"
	// ShardSplitForgetCeiling lets a child begin without the times that its parent has used.
	ShardSplitForgetCeiling Bug = "shard-split-forget-ceiling"
	// ShardSplitRecordFirst notes in the parent that it is split before the name of the child is durable.
	ShardSplitRecordFirst Bug = "shard-split-record-first"
	// ShardSplitLosesRequests lets a child begin without the requests that its parent has answered.
	ShardSplitLosesRequests Bug = "shard-split-loses-requests"
	// ShardSweepBytes lets a tick look at rows of the other half of a split whatever they weigh.
	ShardSweepBytes Bug = "shard-sweep-bytes"
	// RaftFoundResetsTerm gives a replica that is founded the term of its state, whatever term it has.
	RaftFoundResetsTerm Bug = "raft-found-resets-term"
	// ShardIgnoreDigest compares the digests of replicas and finds them equal.
	ShardIgnoreDigest Bug = "shard-ignore-digest"
	// ShardRebuildUnconfirmed puts a checkpoint in the place of a fenced replica that no majority confirms.
	ShardRebuildUnconfirmed Bug = "shard-rebuild-unconfirmed"
	// ShardReadAnyTime lets a read find a row whose expiry has come.
	ShardReadAnyTime Bug = "shard-read-any-time"
	// ShardResurrect lets apply find a row whose expiry has come.
	ShardResurrect Bug = "shard-resurrect"
	// ShardPublishIncomplete applies a batch although parts of its values are not there.
	ShardPublishIncomplete Bug = "shard-publish-incomplete"
	// ShardLeakParts keeps the parts of a value that was overwritten or deleted.
	ShardLeakParts Bug = "shard-leak-parts"
	// ShardKeepStaged keeps the parts that are staged beyond the deadline of their request.
	ShardKeepStaged Bug = "shard-keep-staged"
	// ShardBackupUnconfirmed lets any replica begin a backup without asking a majority what it has to hold.
	ShardBackupUnconfirmed Bug = "shard-backup-unconfirmed"
	// ShardBackupWithoutExpiry leaves the expiry of rows out of a backup.
	ShardBackupWithoutExpiry Bug = "shard-backup-without-expiry"
	// BackupManifestFirst writes the manifest of a backup before its files are durable.
	BackupManifestFirst Bug = "backup-manifest-first"
	// BackupSkipChecksum takes the blocks of a backup without comparing checksums.
	BackupSkipChecksum Bug = "backup-skip-checksum"
	// BackupKeepBroken takes what came of a stream that broke for the rows of its shard.
	BackupKeepBroken Bug = "backup-keep-broken"
	// ShardTakeUnknownEntry reads entries of cluster versions that the build does not know as if it did.
	ShardTakeUnknownEntry Bug = "shard-take-unknown-entry"
	// MetaRaiseEarly raises the cluster's version although some nodes do not know the next one.
	MetaRaiseEarly Bug = "meta-raise-early"
	// PledgeAgain lets a later pledge replace the one that a node has given.
	PledgeAgain Bug = "pledge-again"
	// ServerForgetTry forgets that a try of a write which timed out may have run.
	ServerForgetTry Bug = "server-forget-try"
	// ServerReadsFirst lets the reads of a pipeline overtake its writes on a shard.
	ServerReadsFirst Bug = "server-reads-first"
	// ServerSkipChecksum takes what other nodes answer without comparing checksums.
	ServerSkipChecksum Bug = "server-skip-checksum"
	// RESPReplyWhenDone answers a pipeline in the order in which its commands are likely to be done.
	RESPReplyWhenDone Bug = "resp-reply-when-done"
	// ClientNewRequestID makes the SDK repeat a write under another request id.
	ClientNewRequestID Bug = "client-new-request-id"
	// LogChecksumWithoutSegment leaves the segment's id and UUID out of the checksums of the shared log.
	LogChecksumWithoutSegment Bug = "log-checksum-without-segment"
	// LogAcknowledgeBeforeSync acknowledges what the shared log has written and not synced.
	LogAcknowledgeBeforeSync Bug = "log-acknowledge-before-sync"
	// LogRetryFailedSync syncs the shared log again after a sync failed, and believes the second one.
	LogRetryFailedSync Bug = "log-retry-failed-sync"
	// VoteInTwoRecords makes the term of a vote durable before its candidate.
	VoteInTwoRecords Bug = "vote-in-two-records"
)

// Claim is a test that was written for a promise, and which a bug must make fail.
type Claim struct {
	Bug     Bug
	Package string // of the main module, below its root
	Test    string // its name in full
}

// Claims has at least one row per bug. tests/seeded runs each with and without the bug.
var Claims = []Claim{
	{SkipReadIndex, "raft", "TestALeaderThatIsCutOffServesNoReadWhileANewOneCommits"},
	{RaftFoundResetsTerm, "raft", "TestAFoundedReplicaKeepsItsTermAndItsVote"},
	{RaftReadyWithoutTick, "raft", "TestEachElectionIsAnnouncedOnceReady"},
	{RaftCutBeyondDurable, "raft", "TestNothingIsCutThatTheStateMachineNeeds"},
	{RaftKeepLogBelowSnapshot, "raft", "TestWhatAReplicaHadBelowItsSnapshotReachesNobody"},
	{RaftStoreBelowSnapshot, "raft", "TestNothingBelowTheStateIsStoredAgain"},
	{RaftInstallUnverified, "raft", "TestNoDamagedSnapshotIsAccepted"},
	{MuxHeartbeatFastPath, "raft/mux", "TestHeartbeatsWaitForTheMainLoop"},
	{MuxCommitBeyondMessage, "raft", "TestAFollowerCommitsNothingThatItsLeaderDidNotSend"},
	{MuxAnswerBeforeDurable, "raft/mux", "TestAFollowerSaysYesOnlyToWhatItsLogHolds"},
	{MuxCountBeforeDurable, "raft/mux", "TestALeaderCountsOnlyWhatItsOwnLogHolds"},
	{RaftEmptyVotes, "raft", "TestAnEmptyReplicaDoesNotVote"},
	{RaftEmptyMute, "raft", "TestAnEmptyReplicaThatHasLostNothingVotes"},
	{MuxAnyIncarnation, "raft", "TestARemovedReplicaDoesNotVote"},
	{NodeDeleteUnconfirmed, "internal/node", "TestAReplicaThatIsStillAMemberIsNotDeleted"},
	{RaftEarlyAlone, "raft", "TestOnlyCommandsOfSeveralVotersAreEarly"},
	{MetaForgetRemoved, "meta", "TestARemovedNodeIsRefusedForEver"},
	{MetaReuseIncarnation, "meta", "TestNoReplicaOfTheMapHasTheIncarnationOfAnother"},
	{MetaRemoveHolder, "meta", "TestANodeThatHoldsAReplicaStaysInTheMap"},
	{EngineSkipTableSync, "engine", "TestForgettingLeavesAPrefix"},
	{EngineSkipDirectorySync, "engine", "TestTheManifestNamesOnlyTablesWhoseNamesAreDurable"},
	{EngineSkipChecksum, "engine", "TestDamageIsNamedAndNeverServed"},
	{EngineRetryFailedSync, "engine", "TestAnyFailedCallIsStickyAndLosesNothingDurable"},
	{EngineGoOnAfterFailedSync, "engine", "TestAFailedSyncIsFinalAlsoOnAFullDisk"},
	{EngineOpenWithoutSync, "engine", "TestWhatOpenTellsIsDurable"},
	{EngineManifestInPlace, "engine", "TestForgettingLeavesAPrefix"},
	{EngineRemoveBeforeManifest, "engine", "TestForgettingLeavesAPrefix"},
	{EngineFlushTellsPresent, "engine", "TestForgettingLeavesAPrefix"},
	{EngineFlushLosesLastRow, "engine", "TestForgettingLeavesAPrefix"},
	{EngineCheckpointWithoutSync, "engine", "TestForgettingLeavesAPrefix"},
	{EngineDropTombstone, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineRangeSkipTables, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineRangeCutShort, "engine", "TestARangeTombstoneIsCutWhereTablesAre"},
	{EngineRangeKeepRows, "engine", "TestARowInTheCacheGoesWithItsRange"},
	{EngineRangeSkipNewer, "engine", "TestAWalkDoesNotReadTheBlocksOfADeletedRange"},
	{EngineDropByPresentHorizon, "engine", "TestAHorizonThatIsNotDurableDropsNoRows"},
	{EngineForgetSnapshots, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineForgetUnordered, "engine", "TestADeletedKeyStaysDeletedWhenVersionsAreNotRetainedAnyMore"},
	{EngineExpireEarly, "engine", "TestAValueIsKeptUntilTheHorizonHasReachedItsExpiry"},
	{EngineReadNextVersion, "engine", "TestVersionsAreReadAtTheirTimeDownToTheHorizon"},
	{EngineOldestFirst, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineEndInclusive, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineFilterForgets, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineCacheWithoutFile, "engine", "TestEqualHistoriesGiveEqualResultsUnderAllOptions"},
	{EngineCacheWithoutStore, "engine", "TestStoresShareACacheAndKeepApart"},
	{EngineFillWithoutStamp, "engine/internal/rowcache", "TestNoOrderOfStepsLetsAnOldRowIn"},
	{EngineFillWithoutStamp, "engine", "TestARowThatWasReadBeforeABatchIsNotCachedAfterIt"},
	{EngineRowCacheAnyVersion, "engine", "TestVersionsBeforeACachedRowAreReadFromTheStore"},
	{EngineStampNotOdd, "engine/internal/rowcache", "TestNoOrderOfStepsLetsAnOldRowIn"},
	{EngineStampNotOdd, "engine", "TestARowThatIsReadWhileABatchIsPublishedIsNotCached"},
	{EngineLogSkipSync, "engine", "TestABatchIsDurableWhenItsModeSays"},
	{EngineLogChecksumWithoutSegment, "engine/internal/wal", "TestAFileThatIsUsedAgainShowsNothingOfItsFormerLife"},
	{EngineRepairSkipSync, "engine", "TestACrashDuringARepairLeavesADirectoryThatIsRepaired"},
	{EngineRepairStopsAtDamage, "engine", "TestADamagedByteCostsARepairOneBlock"},
	{EngineRepairSaysNothing, "engine", "TestDeletedKeysDoNotComeBackUnsaid"},
	{EngineRepairTrustsReads, "engine", "TestARepairOfADiskThatFailsAtTimesLosesNothing"},
	{EngineRepairForgetsFamilies, "engine", "TestRowsOfAFamilyWhoseEntryIsLostGetAName"},
	{EngineReadOnlyRemoves, "engine", "TestAStoreOpenForReadingShowsEverythingAndChangesNothing"},
	{EngineReadOnlySkipsLog, "engine", "TestAStoreOpenForReadingShowsEverythingAndChangesNothing"},
	{EngineReadOnlyUnlocked, "engine", "TestManyReadAtATimeAndAWriterIsKeptOut"},
	{EngineTxSkipMemtable, "engine", "TestBankTransfersLoseNothing"},
	{EngineTxSkipStaged, "engine", "TestABatchThatWaitsForTheLogIsAConflict"},
	{EngineTxSkipRanges, "engine", "TestSerializableTransactionsHaveNoCycle"},
	{ShardTakeAnySlot, "shard", "TestOnlyItsOwnSlotsAtItsOwnEpoch"},
	{ShardApplyOutOfOrder, "shard", "TestWhatStandsBehindARefusedEntryIsNotExecuted"},
	{ShardRunTwice, "shard", "TestADuplicateGetsTheSameAnswerAndRunsNothing"},
	{ShardSplitKeepSlots, "shard", "TestASplitGivesEachHalfItsSlots"},
	{ShardSplitForgetCeiling, "shard", "TestAChildBeginsAboveTheTimesOfItsParent"},
	{ShardSplitRecordFirst, "shard", "TestASplitIsTheSameAfterACrashAnywhere"},
	{ShardSplitLosesRequests, "shard", "TestASplitGivesEachHalfItsSlots"},
	{ShardSweepBytes, "shard", "TestAStepOfTheSweepIsBounded"},
	{ShardIgnoreDigest, "shard", "TestAMajorityDecidesWhoDiffers"},
	{ShardPublishIncomplete, "shard", "TestABatchWhosePartsAreNotAllThereIsNotExecuted"},
	{ShardKeepStaged, "shard", "TestPartsOfABatchThatDoesNotComeLeaveTheDisk"},
	{ShardLeakParts, "shard", "TestWhatNoKeyHasAnyMoreLeavesTheDisk"},
	{ShardRebuildUnconfirmed, "shard", "TestAReplacementThatNoMajorityConfirmsIsRefused"},
	{ShardReadAnyTime, "shard", "TestWhatWasSeenExpiredStaysExpired"},
	{ShardResurrect, "shard", "TestARowIsAbsentFromItsExpiryOn"},
	{ShardBackupUnconfirmed, "shard", "TestABackupHasWhatWasAcknowledgedBeforeIt"},
	{ShardBackupWithoutExpiry, "shard", "TestABackupHasWhatWasAcknowledgedBeforeIt"},
	{BackupManifestFirst, "backup", "TestABackupThatIsThereAfterACrashIsWhole"},
	{BackupSkipChecksum, "backup", "TestADamagedBackupIsRefusedWithFileAndOffset"},
	{BackupKeepBroken, "backup", "TestAShardWhoseStreamBreaksBeginsAgain"},
	{ShardTakeUnknownEntry, "shard", "TestAnEntryOfAnUnknownVersionStopsTheReplica"},
	{MetaRaiseEarly, "meta", "TestTheClusterVersionIsRaisedWhenEveryNodeKnowsIt"},
	{PledgeAgain, "meta/pledge", "TestTheFirstPledgeStands"},
	{ServerForgetTry, "server", "TestAWriteThatMayHaveRunIsNeverSaidNotToHave"},
	{ServerReadsFirst, "server", "TestRequestsOfATurnSeeThoseBeforeThem"},
	{ServerSkipChecksum, "server", "TestADamagedForwardedItemIsNotServed"},
	{ServerSkipChecksum, "server", "TestADamagedOutcomeIsAnUnknownOne"},
	{RESPReplyWhenDone, "server/resp", "TestAPipelineIsAnsweredAsItsCommandsAloneAre"},
	{ClientNewRequestID, "client", "TestABrokenStreamLosesNothingAndDoublesNothing"},
	{LogChecksumWithoutSegment, "raft/sharedlog", "TestNothingAcknowledgedIsLostInACrash"},
	{LogAcknowledgeBeforeSync, "raft/sharedlog", "TestNothingAcknowledgedIsLostInACrash"},
	{LogRetryFailedSync, "raft/sharedlog", "TestAfterAFailedCallNothingIsAcknowledgedThatIsLost"},
	{VoteInTwoRecords, "raft/sharedlog", "TestNothingAcknowledgedIsLostInACrash"},
}
