package org.eellm.cli.option;

import java.util.Arrays;
import java.util.List;
import java.util.ListResourceBundle;
import java.util.stream.Collectors;
import org.eellm.decode.exit.PolicyName;

/** What descriptions of options say of exit policies: {@code ${bundle:policy.descriptions}}. */
public final class PolicyTexts extends ListResourceBundle {
  /** Joins names to a list: {@code a, b and c}. */
  public static String list(List<?> names, String conjunction) {
    int last = names.size() - 1;
    return last < 1
        ? names.stream().map(Object::toString).collect(Collectors.joining())
        : names.subList(0, last).stream().map(Object::toString).collect(Collectors.joining(", "))
            + " %s ".formatted(conjunction)
            + names.get(last);
  }

  @Override
  protected Object[][] getContents() {
    return new Object[][] {
      {
        "policy.descriptions",
        Arrays.stream(PolicyName.values())
            .map(name -> "%s: %s.".formatted(name, name.description()))
            .collect(Collectors.joining(" "))
      },
      {"policy.with-threshold", list(defaults(), "and")},
      {"policy.that-decay", list(PolicyName.ofConfidence(), "and")},
      {"policy.to-calibrate", list(PolicyName.ofConfidence(), "or")}
    };
  }

  /** {@code max-probability (0.9 by default), margin (0.8)}. */
  private static List<String> defaults() {
    List<PolicyName> names = PolicyName.withThreshold();
    return names.stream()
        .map(
            name ->
                "%s (%s%s)"
                    .formatted(
                        name,
                        name.thresholdRule().orElseThrow().defaultThreshold(),
                        name == names.getFirst() ? " by default" : ""))
        .toList();
  }
}
