package org.eellm.decode;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.eellm.decode.DecodeStats.Part;
import org.eellm.decode.engine.ForwardProfiler;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.Result;

/** Measures a batch from the moment this is made. */
public final class DecodeMeter {
  /** Until the JVM has compiled what reads. */
  private static final double WARM_UP_SECONDS = 0.15;

  private static final double READ_SECONDS = 0.1;

  private final ModelRunner runner;
  private final DecodeTally tally;
  private final long tokens;
  private final long sampling;
  private final long listening;
  private final long start;

  DecodeMeter(ModelRunner runner, DecodeTally tally) {
    this.runner = runner;
    this.tally = tally;
    tokens = tally.tokens();
    sampling = tally.samplingNanos();
    listening = tally.listenerNanos();
    runner.profiler().ifPresent(ForwardProfiler::reset);
    start = System.nanoTime();
  }

  /** The figures until now; then measures the rate at which weights are read. */
  public DecodeStats stats(List<Result> results) {
    long end = System.nanoTime();
    double first = results.stream().mapToDouble(Result::firstTokenSeconds).average().orElse(0);
    runner.weightReadRate(WARM_UP_SECONDS);
    return stats(end, first, READ_SECONDS);
  }

  /** The figures until now, without the time to first tokens and the rate of reading. */
  public DecodeStats stats() {
    return stats(System.nanoTime(), 0, 0);
  }

  private DecodeStats stats(long end, double firstTokenSeconds, double readSeconds) {
    Optional<ForwardProfiler> profiler = runner.profiler();
    int count = Math.toIntExact(tally.tokens() - tokens);
    double seconds = (end - start) / 1e9;
    List<Part> parts = new ArrayList<>();
    long rest = end - start;
    if (profiler.isPresent()) {
      for (ForwardProfiler.Part part : ForwardProfiler.Part.values()) {
        parts.add(part(part.text(), profiler.get().nanos(part), count, end));
        rest -= profiler.get().nanos(part);
      }
    }
    long choosingNow = tally.samplingNanos() - sampling;
    long listeningNow = tally.listenerNanos() - listening;
    rest -= choosingNow + listeningNow;
    parts.add(part(DecodeStats.SAMPLING, choosingNow, count, end));
    parts.add(part(DecodeStats.LISTENERS, listeningNow, count, end));
    parts.add(part(DecodeStats.REST, rest, count, end));
    OptionalLong bytes = profiler.stream().mapToLong(ForwardProfiler::weightBytes).findFirst();
    OptionalDouble readRate =
        readSeconds > 0 ? runner.weightReadRate(readSeconds) : OptionalDouble.empty();
    OptionalDouble share =
        readRate.isPresent() && bytes.isPresent()
            ? OptionalDouble.of(bytes.getAsLong() / seconds / readRate.getAsDouble())
            : OptionalDouble.empty();
    return new DecodeStats(
        count,
        seconds,
        count / seconds,
        firstTokenSeconds,
        profiler.stream().mapToDouble(ForwardProfiler::meanRows).findFirst(),
        bytes,
        readRate,
        share,
        parts);
  }

  private Part part(String name, long nanos, int count, long end) {
    return new Part(name, nanos / 1e3 / Math.max(1, count), (double) nanos / (end - start));
  }
}
