"""What a picture says about itself: IPTC's DigitalSourceType in XMP, for whoever publishes it."""

from __future__ import annotations

from xml.sax.saxutils import escape

#: IPTC NewsCodes: a composite of a photo and of parts that a trained model made; and a photo that
#: a program enhanced.
_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = _TYPES + "compositeWithTrainedAlgorithmicMedia"
PLAIN = _TYPES + "algorithmicallyEnhanced"

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <Iptc4xmpExt:DigitalSourceType>{kind}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def xmp(generated: bool, tool: str) -> bytes:
    """An XMP packet, UTF-8.

    Args:
        generated: whether a model painted part of the picture.
        tool: that made it, with its version.
    """
    return _PACKET.format(kind=GENERATED if generated else PLAIN, tool=escape(tool)).encode()
