"""The main job, shown: a real broker, a workload, crashes in the middle of batches, and the proof that nothing was lost."""
