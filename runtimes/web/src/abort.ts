/**
 * Let messages in, an abort among them; then throw if one came. Engines may answer within one turn of the event loop, so a
 * long call that does not do this hears nothing until it ends.
 */
export async function breathe(signal?: AbortSignal): Promise<void> {
  if (!signal) return;
  await new Promise<void>((resolve) => void setTimeout(resolve));
  signal.throwIfAborted();
}
