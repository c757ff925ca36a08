package example;

import com.google.cloud.functions.HttpFunction;
import com.google.cloud.functions.HttpRequest;
import com.google.cloud.functions.HttpResponse;

/** What was asked, as JSON. */
public class Hello implements HttpFunction {
  @Override
  public void service(HttpRequest request, HttpResponse response) throws Exception {
    int bytes = request.getInputStream().readAllBytes().length;
    response.setContentType("application/json");
    response.getWriter().write(String.format("{\"method\": \"%s\", \"path\": \"%s\", \"query\": \"%s\", \"bytes\": %d}",
        request.getMethod(), request.getPath(), request.getQuery().orElse(""), bytes));
  }
}
