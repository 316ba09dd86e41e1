import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An order and an attempt at a flash sale, with nothing but the JDK (11 or later).
 *
 * <pre>java examples/Buy.java http://127.0.0.1:8092</pre>
 */
public final class Buy {
    private static final int MOST_TRIES = 5;
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    private final String base;
    private String token = "";

    private Buy(String base) {
        this.base = base;
    }

    public static void main(String[] args) throws Exception {
        Buy buy = new Buy(args.length > 0 ? args[0] : "http://127.0.0.1:8092");
        buy.logIn(13);
        System.out.println("order " + buy.order("48", 1));
        System.out.println(buy.attempt());
    }

    /** Demo only: a shop has tokens of its own. */
    private void logIn(int userId) throws Exception {
        HttpResponse<String> answer = send("POST", "/demo/login", "{\"userId\":" + userId + "}", null);
        String cookie = answer.headers().firstValue("set-cookie").orElseThrow();
        token = find(cookie, "GMALL_TOKEN=([^;]+)");
    }

    private String order(String skuId, int quantity) throws Exception {
        String items = "[{\"sku_id\":\"" + skuId + "\",\"quantity\":" + quantity + "}]";
        String checkout = ok(send("POST", "/api/v1/checkouts", "{\"items\":" + items + "}", null)).body();
        String body = "{\"checkout_token\":\"" + find(checkout, "\"checkout_token\":\"([^\"]+)\"") + "\","
                + "\"total_amount\":\"" + find(checkout, "\"total_amount\":\"([^\"]+)\"") + "\","
                + "\"items\":" + items + ","
                + "\"receiver\":{\"name\":\"李先锋\",\"phone\":\"13888888888\",\"province\":\"上海\",\"city\":\"上海市\","
                + "\"detail_address\":\"大江大厦6层\"}}";
        // One key for one wish: however often it is sent, there is one order.
        return find(ok(send("POST", "/api/v1/orders", body, UUID.randomUUID().toString())).body(),
                "\"order_sn\":\"([^\"]+)\"");
    }

    private String attempt() throws Exception {
        String sales = ok(send("GET", "/api/v1/flash-sales", null, null)).body();
        String sale = find(sales, "\"id\":\"(\\d+)\"");
        HttpResponse<String> answer =
                send("POST", "/api/v1/flash-sales/" + sale + "/attempts", "", UUID.randomUUID().toString());
        if (answer.statusCode() != 202) {
            return "not won: " + find(answer.body(), "\"code\":\"([^\"]+)\"");
        }
        String place = answer.headers().firstValue("location").orElseThrow();
        String decided = ok(send("GET", place + "?wait=10s", null, null)).body();
        return "won " + find(decided, "\"order_sn\":\"([^\"]+)\"") + ": " + find(decided, "\"status\":\"([^\"]+)\"");
    }

    /** Sends again while the server says it is busy, never sooner than it asks. */
    private HttpResponse<String> send(String method, String path, String body, String key) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(20));
        request.method(method, body == null
                ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body));
        if (body != null && !body.isEmpty()) {
            request.header("content-type", "application/json");
        }
        if (!token.isEmpty()) {
            request.header("authorization", "Bearer " + token);
        }
        if (key != null) {
            request.header("idempotency-key", key);
        }
        for (int tries = 1; ; tries++) {
            HttpResponse<String> answer = http.send(request.build(), HttpResponse.BodyHandlers.ofString());
            boolean busy = answer.statusCode() == 429 || answer.statusCode() == 503;
            if (!busy || tries == MOST_TRIES) {
                return answer;
            }
            Thread.sleep(1000L * answer.headers().firstValueAsLong("retry-after").orElse(1));
        }
    }

    private static HttpResponse<String> ok(HttpResponse<String> answer) {
        if (answer.statusCode() / 100 != 2) {
            throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
        }
        return answer;
    }

    /** A JSON library reads this better; here one field is enough. */
    private static String find(String text, String pattern) {
        Matcher matcher = Pattern.compile(pattern).matcher(text);
        if (!matcher.find()) {
            throw new IllegalStateException(pattern + " is not in " + text);
        }
        return matcher.group(1);
    }
}
