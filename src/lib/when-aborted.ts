/** Resolves with the reason of a signal when it is aborted. */
export function whenAborted<Reason>(signal: AbortSignal): Promise<Reason> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason as Reason);
    else signal.addEventListener('abort', () => resolve(signal.reason as Reason), { once: true });
  });
}
