package tree

import (
	"encoding/json"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// xattrJSON is an attribute in JSON, whose strings hold UTF-8 only: the name is
// in the escape of [hostpath.Quote], the value in base64.
type xattrJSON struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// MarshalJSON writes the name in its escape.
func (x Xattr) MarshalJSON() ([]byte, error) {
	return json.Marshal(xattrJSON{hostpath.Quote(x.Name), x.Value})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (x *Xattr) UnmarshalJSON(data []byte) error {
	var j xattrJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	name, err := hostpath.Unquote(j.Name)
	if err != nil {
		return err
	}
	x.Name, x.Value = name, j.Value
	return nil
}
