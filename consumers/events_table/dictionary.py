"""What webhooks have in common: the preset dictionary of the stored envelopes, form 1.

Frozen: one changed byte makes what is stored unreadable, and a test holds it to its hash. A better dictionary is a new
constant and a new form in `weir.consumers.events_table.blob`. Deflate finds what stands near the end most cheaply, so
the most common text comes last.
"""

_KEYS = (
    '","first_name":"","last_name":"","phone":null,"company":null,"address1":"","address2":"","zip":"","province'
    '":"","country_code":"","latitude":,"longitude":,"financial_status":"paid","fulfillment_status":null,"line_i'
    'tems":[{"id":,"variant_id":,"title":"","quantity":1,"sku":"","vendor":"","price":"","total_discount":"0.00"'
    ',"tax_lines":[],"admin_graphql_api_id":"gid://shopify/Order/","current_total_price":"","subtotal_price":"",'
    '"total_tax":"0.00","shop_money":{"amount":"","currency_code":"USD"},"presentment_money":{"amount":"","curre'
    'ncy_code":"EUR"},"token":"","team_id":"T","api_app_id":"A","event":{"type":"message","channel":"C","channel'
    '_type":"channel","user":"U","text":"","ts":"","event_ts":""},"type":"event_callback","event_id":"Ev","event'
    '_time":,"authorizations":[{"enterprise_id":null,"is_bot":false,"is_enterprise_install":false}],"event_conte'
    'xt":""action":"opened","number":,"pull_request":{"url":"https://api.github.com/repos/","html_url":"https://'
    'github.com/","node_id":"","sender":{"login":"","id":,"avatar_url":"https://avatars.githubusercontent.com/u/'
    '","gravatar_id":"","followers_url":"","subscriptions_url":"","organizations_url":"","repos_url":"","events_'
    'url":"","received_events_url":"","type":"User","site_admin":false},"repository":{"id":,"name":"","full_name'
    '":"","private":false,"owner":{"login":"","issues_url":"","labels_url":"","commits_url":"","default_branch":'
    '"main","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","pushed_at":"","head_commit"'
    ':{"id":"","tree_id":"","distinct":true,"message":"","timestamp":"","author":{"name":"","email":"@users.nore'
    'ply.github.com","username":""},"committer":{"name":"","email":""},"added":[],"removed":[],"modified":[]},"r'
    'ef":"refs/heads/main","before":"","after":"","base_ref":null,"compare":"","commits":[],"installation":{"id"'
    ':},"organization":{"login":"{"id":"evt_","object":"event","api_version":"2026-01-28","created":17,"data":{"'
    'object":{"id":"ch_","object":"charge","pi_","object":"payment_intent","amount":,"amount_captured":,"amount_'
    'received":,"amount_refunded":0,"application":null,"application_fee":null,"application_fee_amount":null,"bal'
    'ance_transaction":"txn_","billing_details":{"address":{"city":null,"country":null,"line1":null,"line2":null'
    ',"postal_code":null,"state":null},"email":null,"name":null,"phone":null},"calculated_statement_descriptor":'
    '"","captured":true,"client_secret":"_secret_","confirmation_method":"automatic","currency":"usd","currency"'
    ':"eur","customer":"cus_","description":null,"destination":null,"dispute":null,"disputed":false,"failure_cod'
    'e":null,"failure_message":null,"fraud_details":{},"invoice":null,"last_payment_error":null,"latest_charge":'
    '"ch_","livemode":false,"livemode":true,"metadata":{},"on_behalf_of":null,"outcome":{"network_status":"appro'
    'ved_by_network","reason":null,"risk_level":"normal","risk_score":,"seller_message":"Payment complete.","typ'
    'e":"authorized"},"paid":true,"payment_intent":"pi_","payment_method":"pm_","payment_method_details":{"card"'
    ':{"brand":"visa","checks":{"address_line1_check":null,"address_postal_code_check":null,"cvc_check":"pass"},'
    '"country":"US","exp_month":,"exp_year":20,"fingerprint":"","funding":"credit","last4":"4242","network":"vis'
    'a","three_d_secure":null,"wallet":null},"type":"card"},"payment_method_types":["card"],"receipt_email":null'
    ',"receipt_number":null,"receipt_url":"https://pay.stripe.com/receipts/","refunded":false,"review":null,"shi'
    'pping":null,"source":null,"statement_descriptor":null,"status":"succeeded","transfer_data":null,"transfer_g'
    'roup":null}},"pending_webhooks":1,"request":{"id":"req_","idempotency_key":""},"type":"charge.succeeded","t'
    'ype":"payment_intent.succeeded","invoice.paid","customer.subscription.updated","previous_attributes":{"{"sp'
    'ecversion":"1.0","source":"https://","subject":"","time":"","datacontenttype":"application/json","data":{"t'
    'imestamp":"2026-01-01T00:00:00.000Z","id":"","type":"","object":"","name":"","email":"@example.com","email"'
    ':"@gmail.com","status":"active","status":"pending","enabled":true,"enabled":false,"value":null,"values":[],'
    '"items":[{"id":"","count":0,"total":0,"url":"https://www.","created_at":"20","updated_at":"20","user_id":""'
    ',"account":"acct_","account_id":"","order_id":"","customer_id":"","product_id":"","price":{"id":"","quantit'
    'y":1,"amount":0,"currency":"EUR","currency":"USD","description":"","reference":"","country":"DE","message":'
    '"","payload":{"version":1,"event_type":"","data":{"'
)

_HEADERS = (
    "X-Shopify-Topic: orders/create\nX-Shopify-Shop-Domain: .myshopify.com\nX-Shopify-Order-Id: \n"
    "X-Shopify-Test: false\nX-Shopify-Hmac-Sha256: \nX-Shopify-Webhook-Id: \nX-Shopify-Api-Version: 2026-01\n"
    "X-Shopify-Triggered-At: 20\nX-Shopify-Event-Id: \nX-Slack-Signature: v0=\nX-Slack-Request-Timestamp: 17\n"
    "X-Slack-Retry-Num: 1\nX-Slack-Retry-Reason: http_timeout\nSlackbot 1.0 (+https://api.slack.com/robots)\n"
    "X-GitHub-Delivery: \nX-GitHub-Event: push\nX-GitHub-Hook-ID: \nX-GitHub-Hook-Installation-Target-ID: \n"
    "X-GitHub-Hook-Installation-Target-Type: repository\nX-Hub-Signature: sha1=\nX-Hub-Signature-256: sha256=\n"
    "User-Agent: GitHub-Hookshot/\nwebhook-id: msg_\nwebhook-timestamp: 17\nwebhook-signature: v1,\n"
    "svix-id: msg_\nsvix-timestamp: 17\nsvix-signature: v1,\nUser-Agent: Svix-Webhooks/1.\n"
    "content-type: application/x-www-form-urlencoded\nCookie: \nAuthorization: Bearer \nAuthorization: Basic \n"
    "Accept-Encoding: gzip, deflate, br\nAccept: application/json\nUser-Agent: python-requests/2.\n"
    "User-Agent: curl/8.\nUser-Agent: Mozilla/5.0 (compatible; \nUser-Agent: Go-http-client/2.0\n"
    "User-Agent: axios/1.\nuser-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\n"
    "stripe-signature: t=17,v1=,v0=\nTransfer-Encoding: chunked\ntraceparent: 00-\ntracestate: \nbaggage: \n"
    "sentry-trace: \nnewrelic: \nConnection: keep-alive\nConnection: close\naccept: */*; q=0.5, application/xml\n"
    "Cache-Control: no-cache\nCloudFront-Forwarded-Proto: https\nCloudFront-Is-Desktop-Viewer: true\n"
    "CloudFront-Is-Mobile-Viewer: false\nCloudFront-Is-SmartTV-Viewer: false\n"
    "CloudFront-Is-Tablet-Viewer: false\nCloudFront-Viewer-ASN: 16509\nCloudFront-Viewer-Country: US\n"
    'Via: 1.1 .cloudfront.net (CloudFront)\nX-Amz-Cf-Id: ==\n["52.","/v1/stripe",{},null]\n'
    '["127.0.0.1","/v1/github",{},null]\n["3.","/v1/",{},null]\nAccept: */*\nAccept-Encoding: gzip\n'
    "Content-Length: 1\nContent-Type: application/json; charset=utf-8\nContent-Type: application/json\n"
    "Host: .execute-api.us-east-1.amazonaws.com\nHost: .execute-api.eu-west-1.amazonaws.com\nUser-Agent: \n"
    'X-Amzn-Trace-Id: Root=1-6\nX-Forwarded-For: \nX-Forwarded-Port: 443\nX-Forwarded-Proto: https\n\n{"id":"'
)

WEBHOOKS_1 = (_KEYS + _HEADERS).encode("ascii")
