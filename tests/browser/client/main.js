// As the seed of the package's documentation has it, but for the pause, in milliseconds, that a test need not wait.
import { createClientAnalytics } from '@stacksee/analytics/client';
import { ProxyProvider } from '@stacksee/analytics/providers/client';

const asked = new URLSearchParams(location.search);
const analytics = createClientAnalytics({
  providers: [new ProxyProvider({ endpoint: '/api/analytics', batch: { interval: Number(asked.get('pause') ?? 50) } })],
});
window.analytics = analytics;
await analytics.initialize();
analytics.updateContext({ utm: { source: asked.get('utm_source') ?? undefined } });

document.querySelector('#signup').onclick = () => {
  analytics.identify('user-123', { email: 'john@example.com', name: 'John Doe', username: 'johndoe', plan: 'pro' });
  analytics.track('user_signed_up', { plan: 'pro', __emitkit_channel: 'alerts', __emitkit_notify: true });
};
document.querySelector('#checkout').onclick = () => {
  history.pushState({}, '', '/app/checkout');
  document.title = 'Checkout';
  analytics.pageView({ step: 1 });
};
document.querySelector('#feedback').onclick = () =>
  analytics.track('feedback_given', { stars: 5, __emitkit_channel: 'feedback', __emitkit_notify: false });
document.querySelector('#fail').onclick = () => analytics.track('api_error', { endpoint: '/api/users', statusCode: 500 });
document.querySelector('#logout').onclick = () => analytics.reset();
analytics.pageView();
