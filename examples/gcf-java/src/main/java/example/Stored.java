package example;

import com.google.cloud.functions.CloudEventsFunction;
import io.cloudevents.CloudEvent;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Says which file an event is about. */
public class Stored implements CloudEventsFunction {
  private static final Pattern NAME = Pattern.compile("\"name\": *\"([^\"]*)\"");

  @Override
  public void accept(CloudEvent event) {
    Matcher name = NAME.matcher(new String(event.getData().toBytes(), StandardCharsets.UTF_8));
    System.out.println("stored " + (name.find() ? name.group(1) : "?") + " by " + event.getId() + " (" + event.getType() + ")");
  }
}
