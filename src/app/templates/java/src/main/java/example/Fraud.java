package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.ArrayList;
import java.util.List;

/** How likely a payment is fraud: a logistic regression, and what spoke for it. */
public class Fraud implements RequestHandler<Fraud.Payment, Fraud.Score> {
  public static class Payment {
    public double amount;
    public String country = "";
    public String home = "";
    public int hour = 12;
    public int today; // payments of the same card before this one
  }

  public static class Score {
    public double score;
    public boolean hold;
    public List<String> reasons = new ArrayList<>();
  }

  @Override
  public Score handleRequest(Payment payment, Context context) {
    if (!(payment.amount >= 0)) throw new IllegalArgumentException("an amount below nothing");
    Score result = new Score();
    double sum = -5;
    sum += weigh(result, "a large amount", 0.9 * Math.log10(1 + payment.amount / 100));
    sum += weigh(result, "another country", payment.country.equals(payment.home) ? 0 : 1.6);
    sum += weigh(result, "at night", payment.hour < 6 ? 0.8 : 0);
    sum += weigh(result, "many of a day", 0.5 * Math.min(payment.today, 8));
    result.score = 1 / (1 + Math.exp(-sum));
    result.hold = result.score > 0.5;
    context.getLogger().log("score " + result.score);
    return result;
  }

  private static double weigh(Score result, String reason, double weight) {
    if (weight > 0.7) result.reasons.add(reason);
    return weight;
  }
}
