// Sends events and metrics to logferry. The argument is JSON text, from the library that the function uses:
//   Events.send("{\"event\":\"order placed\",\"orderId\":4711,\"requestId\":\"" + context.getAwsRequestId() + "\"}");
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

public final class Events {
  private static final Duration TIMEOUT = Duration.ofMillis(500);
  private static final HttpClient CLIENT =
      HttpClient.newBuilder()
          .version(HttpClient.Version.HTTP_1_1)
          .proxy(HttpClient.Builder.NO_PROXY)
          .connectTimeout(TIMEOUT)
          .build();
  private static final URI URL = findUrl();

  private Events() {}

  /** Sends one event; returns whether it is stored. */
  public static boolean send(String json) {
    HttpRequest request =
        HttpRequest.newBuilder(URL).timeout(TIMEOUT).POST(HttpRequest.BodyPublishers.ofString(json)).build();
    try {
      return CLIENT.send(request, HttpResponse.BodyHandlers.discarding()).statusCode() == 200;
    } catch (IOException error) {
      return false;
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  private static URI findUrl() {
    try {
      return URI.create(Files.readString(Path.of(variable("LOGFERRY_SPOOL_DIR", "/tmp/logferry"), "events-url")).trim());
    } catch (IOException error) {
      return URI.create("http://127.0.0.1:" + variable("LOGFERRY_PORT", "9513") + "/events");
    }
  }

  private static String variable(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null ? otherwise : value;
  }
}
