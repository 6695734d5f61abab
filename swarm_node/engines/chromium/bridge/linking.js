// Linking the device, and unlinking it.
//
// Owns what the engine asks of wa-js about that. Codes come as events.

calls.refreshQr = async () => {
  if (WPP.conn.isAuthenticated()) throw new CallError('already_linked');
  // Its own promise waits for the next code without a limit; the code comes as an event.
  void WPP.conn.refreshQR().catch(() => {});
};

calls.linkCode = async ({ phone }) => {
  if (WPP.conn.isAuthenticated()) throw new CallError('already_linked');
  const code = await WPP.conn.startLinkDeviceCodeForPhoneNumber(phone);
  if (!code) throw new CallError('no_code');
  return String(code);
};

calls.logout = async () => {
  if (!WPP.conn.isAuthenticated()) return;
  await WPP.conn.logout();
};
