package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.eellm.bench.DecodeCostReport;
import org.eellm.bench.DecodeCostReport.Cost;
import org.eellm.bench.DecodeCostReport.Step;
import org.eellm.bench.StepShape.Owner;

/** What rows cost, as tables: one of costs and one of parts for each context and kind of rows. */
final class DecodeCostReportText {
  private final PrintWriter out;
  private final DecodeCostReport costs;

  private DecodeCostReportText(PrintWriter out, DecodeCostReport costs) {
    this.out = out;
    this.costs = costs;
  }

  static void print(PrintWriter out, DecodeCostReport costs) {
    new DecodeCostReportText(out, costs).print();
  }

  private void print() {
    out.printf("kernel   %s%n", costs.kernel());
    out.printf(
        "weights  %.1f MB, %s the processor's cache; these threads read them at %.1f GB/s, memory"
            + " at %.1f%n",
        costs.weightBytes() / 1e6,
        costs.withinCache() ? "within" : "beyond",
        costs.readBytesPerSecond() / 1e9,
        costs.memoryBytesPerSecond() / 1e9);
    out.printf(
        "products %.1f GFLOP/s, 64 rows with weights in the nearest caches%n",
        costs.operationsPerSecond() / 1e9);
    List<Integer> contexts = costs.steps().stream().map(Step::context).distinct().toList();
    for (int context : contexts) {
      for (Owner of : Owner.values()) {
        List<Step> steps =
            costs.steps().stream()
                .filter(step -> step.context() == context && step.rowsOf() == of)
                .toList();
        if (!steps.isEmpty()) {
          print(context, of, steps);
        }
      }
    }
    out.println();
  }

  private void print(int context, Owner of, List<Step> steps) {
    out.printf(
        "%ncontext %d, %s%n",
        context,
        switch (of) {
          case SEQUENCE -> "consecutive rows of one sequence";
          case SEQUENCES -> "a row of each of several sequences";
        });
    out.printf(
        "%-9s %4s %9s %6s %9s %9s %9s %12s  %-10s%18s%n",
        "",
        "rows",
        "us",
        "ratio",
        "MB read",
        "MFLOP",
        "read us",
        "multiply us",
        "bound by",
        "of the read rate");
    print("a layer", steps, Step::layer);
    for (int head = 0; head < steps.getFirst().heads().size(); head++) {
      int index = head;
      String name = steps.getFirst().heads().get(head).head().toString();
      print(name, steps, step -> step.heads().get(index).cost());
    }
    print("step", steps, Step::step);
    parts(steps);
  }

  private void print(String name, List<Step> steps, Function<Step, Cost> figure) {
    for (Step step : steps) {
      Cost cost = figure.apply(step);
      String share = name.equals("step") ? "%18.2f".formatted(step.shareOfReadRate()) : "";
      String line =
          "%-9s %4d %9.1f %6.2f %9.2f %9.2f %9.1f %12.1f  %-10s%s"
              .formatted(
                  step == steps.getFirst() ? name : "",
                  step.rows(),
                  cost.microseconds(),
                  cost.ratio(),
                  cost.bytes() / 1e6,
                  cost.operations() / 1e6,
                  cost.memoryMicroseconds(),
                  cost.arithmeticMicroseconds(),
                  cost.bound(),
                  share);
      out.println(line.stripTrailing());
    }
  }

  private void parts(List<Step> steps) {
    StringBuilder header =
        new StringBuilder("%-40s".formatted("where a step's time goes, %; rows"));
    steps.forEach(step -> header.append("%7d".formatted(step.rows())));
    out.println(header);
    List<String> names = new ArrayList<>();
    steps.getFirst().parts().forEach(part -> names.add(part.name()));
    for (int i = 0; i < names.size(); i++) {
      int index = i;
      row(names.get(i), steps, step -> 100 * step.parts().get(index).share());
    }
    row("the runner's parts together", steps, step -> 100 * step.partsShare());
    row("keys and values read, MB", steps, step -> step.keyValueBytes() / 1e6);
  }

  private void row(String name, List<Step> steps, Function<Step, Double> figure) {
    StringBuilder line = new StringBuilder("%-40s".formatted(name));
    steps.forEach(step -> line.append("%7.1f".formatted(figure.apply(step))));
    out.println(line);
  }
}
