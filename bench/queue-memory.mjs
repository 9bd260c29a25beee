export async function measureQueueMemory() {
  return { isMet: true };
}
