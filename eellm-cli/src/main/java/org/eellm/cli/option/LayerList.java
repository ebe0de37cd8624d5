package org.eellm.cli.option;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;

/** Layers as people list them: {@code 2,4}, {@code 4-8}, or {@code all} but the last. */
public final class LayerList {
  private static final Pattern PART = Pattern.compile("(\\d{1,6})(?:-(\\d{1,6}))?");

  private LayerList() {}

  /**
   * The layers, ascending and each once.
   *
   * @param option for messages
   * @param all what {@code all} stands for
   * @throws ConfigException if the text is no such list
   */
  public static List<Integer> parse(String option, String text, List<Integer> all) {
    if (text.equals("all")) {
      if (all.isEmpty()) {
        throw new ConfigException(option + ": all: there are none; leave it out");
      }
      return all;
    }
    List<Integer> layers = new ArrayList<>();
    for (String part : text.split(",", -1)) {
      Matcher matcher = PART.matcher(part.strip());
      if (!matcher.matches()) {
        throw new ConfigException(
            "%s: '%s' is no list of layers; write it as 2,4 or 4-8 or all".formatted(option, text));
      }
      int first = Integer.parseInt(matcher.group(1));
      int last = matcher.group(2) == null ? first : Integer.parseInt(matcher.group(2));
      if (first > last) {
        throw new ConfigException(
            "%s: '%s' ends before it begins; write the lower layer first"
                .formatted(option, part.strip()));
      }
      IntStream.rangeClosed(first, last).forEach(layers::add);
    }
    return layers.stream().sorted().distinct().toList();
  }
}
