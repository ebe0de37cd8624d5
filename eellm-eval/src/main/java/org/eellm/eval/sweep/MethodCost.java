package org.eellm.eval.sweep;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.config.ModelConfig;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.model.Head;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;

/**
 * What a way to decode takes beside the full model.
 *
 * @param bytes of memory, with numbers in the model's format: heads, the short list's rows, gates,
 *     tables, and what is remembered of other texts at most
 * @param trainingSeconds of the run that made its exits, which is the trunk's where both were
 *     trained together; 0 where nothing is trained, absent where the model's files do not say
 */
public record MethodCost(long bytes, Optional<Double> trainingSeconds) {

  static MethodCost of(SweepSetting setting, LoadedModel model) {
    List<Integer> exits = model.architecture().exits().layers();
    DecodingMethod decoding = setting.decoding().decoding(exits, 1, name -> "--" + name);
    boolean ownLayers = // in place of an exit's head
        decoding instanceof DecodingMethod.Speculative byExit && byExit.resume() > 0;
    List<Head> asked =
        decoding.heads(model.decoder().allHeads()).stream()
            .filter(head -> head.isExit() && !ownLayers)
            .toList();
    boolean draftHead = decoding.usesDraftHead() && model.decoder().draftHead().isPresent();
    long numbers =
        asked.stream().mapToLong(exit -> numbers(exit, model)).sum()
            + (draftHead
                ? numbers(ParameterLayout.draftHead(model.architecture().model()).stream())
                : 0);
    if ((draftHead || ownLayers || !asked.isEmpty()) && asksShortList(decoding)) {
      numbers +=
          (long) model.vocabulary().draftIds().size() * model.architecture().model().hiddenSize();
    }
    ModelConfig shape = model.architecture().model();
    long gates = decoding.gates().values().stream().mapToLong(Gate::bytes).sum();
    long sources =
        decoding instanceof DecodingMethod.OfSource drafts
            ? drafts.source().mostBytes(model.vocabulary().draftTableBytes(), drafts.memory())
            : 0;
    return new MethodCost(
        numbers * shape.dtype().bytes() + gates + sources,
        draftHead
            ? Optional.empty()
            : asked.isEmpty() ? Optional.of(0.0) : model.exitTrainingSeconds());
  }

  /** Exits draft, and gates decide, by a short list of ids. */
  private static boolean asksShortList(DecodingMethod decoding) {
    return !(decoding instanceof DecodingMethod.ByPolicy) || !decoding.gates().isEmpty();
  }

  private static long numbers(Head exit, LoadedModel model) {
    String prefix = ParameterName.exit(exit.layer()) + ".";
    return numbers(
        model.decoder().parameterGroups().stream()
            .map(group -> group.stream().filter(spec -> spec.name().startsWith(prefix)).toList()));
  }

  private static long numbers(Stream<List<ParameterSpec>> groups) {
    return groups
        .flatMap(Collection::stream)
        .mapToLong(spec -> spec.shape().stream().reduce(1L, Math::multiplyExact))
        .sum();
  }
}
