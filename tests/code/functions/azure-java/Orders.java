// A custom handler of Azure Functions in Java, with nothing but the JDK's own server: the host sends POST /FUNCTION, with the bindings' data.
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

public class Orders {
  static final Pattern ID = Pattern.compile("\"Params\":\\s*\\{\\s*\"id\":\\s*\"([^\"]*)\"");

  public static void main(String[] arguments) throws Exception {
    int port = Integer.parseInt(System.getenv("FUNCTIONS_CUSTOMHANDLER_PORT"));
    var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
    server.createContext("/", call -> {
      var id = ID.matcher(new String(call.getRequestBody().readAllBytes(), StandardCharsets.UTF_8));
      String order = id.find() ? id.group(1) : "unknown";
      byte[] answer = ("{\"Outputs\": {\"res\": {\"statusCode\": 201, \"body\": \"order " + order + " by Java\"}}, \"Logs\": [\""
          + call.getRequestURI().getPath() + " took " + order + "\"]}").getBytes(StandardCharsets.UTF_8);
      call.getResponseHeaders().set("Content-Type", "application/json");
      call.sendResponseHeaders(200, answer.length);
      call.getResponseBody().write(answer);
      call.close();
    });
    server.start();
  }
}
