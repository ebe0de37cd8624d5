package org.eellm.cli.generate;

import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.eellm.config.HeadId;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;

/**
 * How fast texts were, and where their tokens left.
 *
 * @param shares tokens by head, shallowest first
 * @param meanLayer of the heads that tokens left at
 * @param drafted tokens that were drafted
 * @param confirmed of these, which the full model accepted
 */
record ExitSummary(
    int tokens,
    double seconds,
    SortedMap<HeadId, Long> shares,
    double meanLayer,
    int drafted,
    int confirmed) {

  /** In less, most of the time is that of code which is not compiled yet. */
  private static final double WARM_UP_SECONDS = 1;

  static ExitSummary of(List<Result> results, double seconds) {
    List<GeneratedToken> tokens =
        results.stream().flatMap(result -> result.tokens().stream()).toList();
    SortedMap<HeadId, Long> shares =
        tokens.stream()
            .collect(
                Collectors.groupingBy(GeneratedToken::head, TreeMap::new, Collectors.counting()));
    double meanLayer = tokens.stream().mapToInt(GeneratedToken::layer).average().orElse(Double.NaN);
    return new ExitSummary(
        tokens.size(),
        seconds,
        shares,
        meanLayer,
        results.stream().mapToInt(result -> result.usage().draftedTokens()).sum(),
        results.stream().mapToInt(result -> result.usage().acceptedTokens()).sum());
  }

  double tokensPerSecond() {
    return tokens / seconds;
  }

  String line(int layers) {
    String heads =
        shares.entrySet().stream()
            .map(
                share ->
                    "%s %.0f %%"
                        .formatted(
                            ExitColors.name(share.getKey()), 100.0 * share.getValue() / tokens))
            .collect(Collectors.joining(", "));
    String speed =
        "%d token%s in %.2f s, %.1f tokens/s%s"
            .formatted(
                tokens,
                tokens == 1 ? "" : "s",
                seconds,
                tokensPerSecond(),
                seconds < WARM_UP_SECONDS ? " while warming up" : "");
    if (tokens == 0) {
      return speed;
    }
    String drafts =
        drafted == 0
            ? ""
            : "; %d of %d drafts held, %.0f %%"
                .formatted(confirmed, drafted, 100.0 * confirmed / drafted);
    return "%s; left at %s; mean layer %.1f of %d%s"
        .formatted(speed, heads, meanLayer, layers, drafts);
  }
}
