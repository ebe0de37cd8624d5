package org.eellm.cli.eval;

import java.util.List;
import org.eellm.decode.exit.PolicyName;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads the name of a policy with a threshold; of the others there is nothing to calibrate. */
final class CalibratedPolicy implements ITypeConverter<PolicyName> {
  @Override
  public PolicyName convert(String text) {
    List<PolicyName> names = PolicyName.withThreshold();
    return names.stream()
        .filter(
            name -> name.toString().equalsIgnoreCase(text) || name.name().equalsIgnoreCase(text))
        .findFirst()
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "expected one of %s (case-insensitive) but was '%s'".formatted(names, text)));
  }
}
